// CSV, TSV, Parquet and the documents made of them.
#include "ockham/io/table.h"

#include <gtest/gtest.h>

#include "ockham/io/documents.h"
#include "ockham/io/file.h"
#include "ockham/io/npy.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

using Rows = std::vector<std::vector<std::string>>;

TEST(Csv, FollowsTheStandard) {
  EXPECT_EQ(parse_csv("a,b\r\n1,\"x, \"\"y\"\"\"\n", ',', "t.csv"), (Rows{{"a", "b"}, {"1", "x, \"y\""}}));
  EXPECT_EQ(parse_csv("\"two\nlines\",2\n,\n", ',', "t.csv"), (Rows{{"two\nlines", "2"}, {"", ""}}));
  EXPECT_EQ(parse_csv("\xEF\xBB\xBF"
                      "a\n\nb",
                      ',', "t.csv"),
            (Rows{{"a"}, {"b"}}));
  EXPECT_EQ(parse_csv("say \"hi\",2\n", ',', "t.csv"), (Rows{{"say \"hi\"", "2"}}));
  EXPECT_TRUE(parse_csv("", ',', "t.csv").empty());
}

TEST(Csv, QuotesAreOrdinaryInTsv) {
  EXPECT_EQ(parse_csv("\"a\tb,c\n1\t\"2\"\n", '\t', "t.tsv"), (Rows{{"\"a", "b,c"}, {"1", "\"2\""}}));
}

TEST(Csv, ErrorsNameTheLine) {
  EXPECT_TRUE(has(error_text([] { parse_csv("a,b\n\"x\ny\",1\n1,2,3\n", ',', "t.csv"); }),
                  {"t.csv:4", "3 fields", "expected 2"}));
  EXPECT_TRUE(has(error_text([] { parse_csv("a\nb\n\"c\nd\n", ',', "t.csv"); }), {"t.csv:3", "never closed"}));
  EXPECT_TRUE(has(error_text([] { parse_csv("a\n\"b\"c\n", ',', "t.csv"); }), {"t.csv:2", "closing quote"}));
  const Scratch scratch;
  EXPECT_TRUE(has(error_text([&] { read_csv(scratch.put("t.csv", "")); }), {"t.csv", "empty"}));
}

// Written by scripts/make_parquet_sample.py: texts "one", "two Grüße", "", in two row groups, snappy and zstd.
std::string sample(const std::string& name) {
  return OCKHAM_SOURCE_DIR "/tests/io/" + name;
}

TEST(Parquet, ReadsAColumnOfStrings) {
  for (const char* name : {"snappy.parquet", "zstd.parquet"}) {
    EXPECT_EQ(read_parquet_column(sample(name), "text"), (std::vector<std::string>{"one", "two Grüße", ""})) << name;
  }
}

TEST(Parquet, ErrorsNameTheColumns) {
  EXPECT_TRUE(
      has(error_text([] { read_parquet_column(sample("snappy.parquet"), "body"); }), {"'body'", "text, number, gaps"}));
  EXPECT_TRUE(has(error_text([] { read_parquet_column(sample("snappy.parquet"), "number"); }),
                  {"'number'", "INT64", "strings"}));
  EXPECT_TRUE(has(error_text([] { read_parquet_column(sample("snappy.parquet"), "gaps"); }), {"'gaps'", "row 2"}));
  const Scratch scratch;
  const std::string whole = read_file(sample("snappy.parquet"));
  for (size_t size = 0; size < whole.size(); size += 97) {
    error_text([&] { read_parquet_column(scratch.put("x.parquet", whole.substr(0, size)), "text"); });
  }
  EXPECT_TRUE(
      has(error_text([&] { read_parquet_column(scratch.file("absent"), "text"); }), {"absent", "No such file"}));
}

TEST(Documents, AreReadByEnding) {
  const Scratch scratch;
  const DocumentSet text = read_documents(scratch.put("x.txt", "one\ntwo"));
  ASSERT_EQ(text.documents.size(), 1u);
  EXPECT_EQ(text.documents[0].text, "one\ntwo");
  EXPECT_EQ(text.sha256, sha256_text("one\ntwo"));
  const DocumentSet lines = read_documents(
      scratch.put("x.jsonl", "{\"text\": \"a\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"b\"}]}\n"));
  ASSERT_EQ(lines.documents.size(), 2u);
  EXPECT_EQ(lines.documents[0].text, "a");
  EXPECT_EQ(lines.documents[1].messages[0].content, "b");
  EXPECT_EQ(read_documents(sample("zstd.parquet")).documents.size(), 3u);
  write_token_ids_npy(scratch.file("x.npy"), {{1, 2}});
  const DocumentSet ids = read_documents(scratch.file("x.npy"));
  EXPECT_TRUE(ids.documents.empty());
  EXPECT_EQ(ids.sequences, (std::vector<std::vector<int32_t>>{{1, 2}}));
}

TEST(Documents, RefuseWhatHoldsNoText) {
  const Scratch scratch;
  const auto refusal = [&](const std::string& name, const std::string& content) {
    return error_text([&] { read_documents(scratch.put(name, content)); });
  };
  EXPECT_TRUE(has(refusal("x.pdf", "a"), {"x.pdf", "'.pdf'", ".jsonl"}));
  EXPECT_TRUE(has(refusal("x.txt", ""), {"x.txt", "empty"}));
  EXPECT_TRUE(has(refusal("x.txt", " \n"), {"x.txt", "no text"}));
  EXPECT_TRUE(has(refusal("x.txt", std::string("\0\1", 2)), {"x.txt", "binary"}));
  EXPECT_TRUE(has(refusal("x.txt", "\xff"), {"x.txt", "UTF-8"}));
  EXPECT_TRUE(has(refusal("x.jsonl", "{\"text\": \"a\"}\n{\"body\": \"b\"}\n"), {"line 2 of", "'text'", "'messages'"}));
  EXPECT_TRUE(has(refusal("x.jsonl", "{\"text\": 3}\n"), {"line 1 of", "'text'", "3"}));
  EXPECT_TRUE(has(refusal("x.jsonl", "{\"messages\": []}\n"), {"line 1 of", "'messages'"}));
  EXPECT_TRUE(has(refusal("x.jsonl", "{\"messages\": [{\"role\": \"user\"}]}\n"), {"line 1 of", "'content'"}));
  EXPECT_TRUE(has(refusal("x.npy", "abc"), {"x.npy"}));
}

}  // namespace
}  // namespace ockham
