// GGUF containers: the worked example byte by byte, damaged headers, tokenizers.
#include "ockham/io/formats/gguf.h"

#include <gtest/gtest.h>

#include <cstring>

#include "ockham/core/error.h"
#include "ockham/io/formats/gguf_tokenizer.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

std::string example(const std::string& path) {
  const Json keys = {
      {"general.architecture", "llama"}, {"llama.block_count", 1}, {"t.arr", {{"i32", {1, 2}}}}, {"t.b", true}};
  GgufWriter writer(path, keys, {{"x", GgufType::kF32, {2, 3}, 0, 0}, {"y", GgufType::kQ8_0, {1, 32}, 0, 0}});
  const float x[6] = {0, 1, 2, 3, 4, 5};
  writer.append("x", {reinterpret_cast<const uint8_t*>(x), sizeof x});
  float row[32];
  for (int i = 0; i < 32; ++i) row[i] = static_cast<float>(i - 16) / 4;
  uint8_t block[34];
  quantize_gguf(GgufType::kQ8_0, row, block);
  writer.append("y", block);
  writer.finish();
  return read_file(path);
}

std::string hex(const std::string& bytes, size_t at, size_t length) {
  std::string text;
  for (const char c : bytes.substr(at, length)) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

TEST(Gguf, TheWorkedExampleByteByByte) {
  const Scratch scratch;
  const std::string bytes = example(scratch.file("a.gguf"));
  ASSERT_EQ(bytes.size(), 352U);
  EXPECT_EQ(hex(bytes, 0, 24), "474755460300000002000000000000000400000000000000");
  EXPECT_EQ(hex(bytes, 0x45, 8), "1100000000000000");
  EXPECT_EQ(hex(bytes, 0x5e, 8), "0400000001000000");
  EXPECT_EQ(hex(bytes, 0x73, 24),
            "0900000005000000020000000000000001000000"
            "02000000");
  EXPECT_EQ(hex(bytes, 0x8b, 16), "0300000000000000742e620700000001");
  EXPECT_EQ(hex(bytes, 0x9b, 0x29),
            "010000000000000078"
            "02000000"
            "0300000000000000"
            "0200000000000000"
            "00000000"
            "0000000000000000");
  EXPECT_EQ(hex(bytes, 0xc4, 0x29),
            "010000000000000079"
            "02000000"
            "2000000000000000"
            "0100000000000000"
            "08000000"
            "2000000000000000");
  EXPECT_EQ(hex(bytes, 0xed, 0x13), std::string(38, '0'));
  EXPECT_EQ(hex(bytes, 0x120, 4), "08288189");
  EXPECT_EQ(hex(bytes, 0x142, 30), std::string(60, '0'));
  const GgufFile file(scratch.file("a.gguf"));
  EXPECT_EQ(file.header().keys["t.arr"], Json({1, 2}));
  EXPECT_EQ(file.header().tensors[0].shape, (std::vector<int64_t>{2, 3}));
}

TEST(Gguf, DamagedFilesAreRefused) {
  const Scratch scratch;
  const std::string good = example(scratch.file("a.gguf"));
  const auto parse = [](const std::string& bytes) {
    parse_gguf_header(std::as_bytes(std::span(bytes)), static_cast<int64_t>(bytes.size()), "test");
  };
  EXPECT_NO_THROW(parse(good));
  // Cut anywhere before the last padding.
  for (size_t length = 0; length < 0x142; ++length) EXPECT_THROW(parse(good.substr(0, length)), Error) << length;
  const auto changed = [&](size_t at, uint64_t value, size_t length) {
    std::string bytes = good;
    std::memcpy(bytes.data() + at, &value, length);
    return bytes;
  };
  EXPECT_THROW(parse(changed(0, 0, 1)), Error);                     // magic
  EXPECT_THROW(parse(changed(4, 7, 4)), Error);                     // version
  EXPECT_THROW(parse(changed(8, ~uint64_t{0}, 8)), Error);          // tensors
  EXPECT_THROW(parse(changed(16, uint64_t{1} << 40, 8)), Error);    // keys
  EXPECT_THROW(parse(changed(0x7b, uint64_t{1} << 62, 8)), Error);  // array length
  EXPECT_THROW(parse(changed(0xa8, uint64_t{1} << 47, 8)), Error);  // oversized dimension
  EXPECT_THROW(parse(changed(0xd1, 33, 8)), Error);                 // not whole blocks
  EXPECT_THROW(parse(changed(0xe1, 99, 4)), Error);                 // unknown type
  EXPECT_THROW(parse(changed(0xe5, 0, 8)), Error);                  // overlap
  EXPECT_THROW(parse(changed(0xe5, 7, 8)), Error);                  // unaligned
  EXPECT_THROW(parse(changed(0xe5, uint64_t{1} << 50, 8)), Error);  // beyond the end
  EXPECT_THROW(parse(changed(0xcc, 'x', 1)), Error);                // two tensors of one name
}

TEST(Gguf, SplitFilesNeedEveryPart) {
  const Scratch scratch;
  for (int part = 0; part < 2; ++part) {
    GgufWriter writer(scratch.file(fmt::format("m-0000{}-of-00002.gguf", part + 1)),
                      {{"split.no", part}, {"split.count", 2}, {"split.tensors.count", 0}}, {});
    writer.finish();
  }
  EXPECT_EQ(open_gguf(scratch.file("m-00002-of-00002.gguf")).size(), 2U);
  std::filesystem::remove(scratch.file("m-00001-of-00002.gguf"));
  EXPECT_THROW(open_gguf(scratch.file("m-00002-of-00002.gguf")), Error);
}

TEST(GgufTokenizer, SentencePieceScoresBecomeMerges) {
  const Json keys = {{"tokenizer.ggml.model", "llama"},
                     {"tokenizer.ggml.tokens", {"<unk>", "a", "b", "c", "ab", "abc", "bc"}},
                     {"tokenizer.ggml.scores", {0, -10, -10, -10, -1, -3, -2}},
                     {"tokenizer.ggml.token_type", {2, 1, 1, 1, 1, 1, 1}},
                     {"tokenizer.ggml.unknown_token_id", 0}};
  const auto files = read_gguf_tokenizer(keys, "test");
  const Json tokenizer = Json::parse(files.at("tokenizer.json"));
  EXPECT_EQ(tokenizer["model"]["merges"],
            parse_json(R"([["a", "b"], ["b", "c"], ["a", "bc"], ["ab", "c"]])", "expected"));
  EXPECT_EQ(tokenizer["model"]["vocab"]["abc"], 5);
  EXPECT_TRUE(read_gguf_tokenizer(Json::object(), "test").empty());
  Json unknown = keys;
  unknown["tokenizer.ggml.model"] = "rwkv";
  EXPECT_THROW(read_gguf_tokenizer(unknown, "test"), Error);
}

}  // namespace
}  // namespace ockham
