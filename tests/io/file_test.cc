// Reading, UTF-8, SHA-256, memory maps, and output that appears whole or not at all.
#include "ockham/io/file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "ockham/io/scratch_file.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

// Files of this process may not grow beyond `bytes` while it lives; write() then fails as it does on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    previous_handler_ = ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &previous_);
    const rlimit limit{bytes, previous_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &previous_);
    ::signal(SIGXFSZ, previous_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit previous_{};
  sighandler_t previous_handler_;
};

TEST(ReadFile, GivesTheBytes) {
  const Scratch scratch;
  const std::string content("a\0b\r\n", 5);
  EXPECT_EQ(read_file(scratch.put("x", content)), content);
  EXPECT_EQ(read_file(scratch.put("empty", "")), "");
}

TEST(ReadFile, RefusesWhatIsNoReadableFile) {
  const Scratch scratch;
  EXPECT_TRUE(has(error_text([&] { read_file(scratch.file("absent")); }), {"absent", "No such file"}));
  EXPECT_TRUE(has(error_text([&] { read_file(scratch.path()); }), {scratch.path(), "directory"}));
  EXPECT_TRUE(has(error_text([&] { read_file(scratch.put("big", "12345"), 4); }), {"big", "5 bytes", "at most 4"}));
  EXPECT_TRUE(has(error_text([&] { read_file("/dev/zero", 1000); }), {"/dev/zero", "1000"}));
}

TEST(ReadTextFile, RefusesEmptyBinaryAndOtherEncodings) {
  const Scratch scratch;
  EXPECT_EQ(read_text_file(scratch.put("x", "Grüße")), "Grüße");
  EXPECT_TRUE(has(error_text([&] { read_text_file(scratch.put("x", "")); }), {"/x", "empty"}));
  EXPECT_TRUE(has(error_text([&] { read_text_file(scratch.put("x", {"ab\0c", 4})); }), {"binary", "offset 2"}));
  EXPECT_TRUE(has(error_text([&] { read_text_file(scratch.put("x", "Gr\xFC\xDF")); }), {"UTF-8", "0xfc", "offset 2"}));
}

TEST(FindInvalidUtf8, FollowsTheUnicodeTable) {
  constexpr size_t kNone = std::string_view::npos;
  EXPECT_EQ(find_invalid_utf8(""), kNone);
  EXPECT_EQ(find_invalid_utf8("aß語🙂\xF4\x8F\xBF\xBF"), kNone);
  EXPECT_EQ(find_invalid_utf8("\xED\x9F\xBF\xEE\x80\x80"), kNone);  // both sides of the surrogates
  EXPECT_EQ(find_invalid_utf8("a\x80"), 1u);                        // continuation without a lead
  EXPECT_EQ(find_invalid_utf8("\xC0\x80"), 0u);                     // overlong
  EXPECT_EQ(find_invalid_utf8("\xC1\xBF"), 0u);
  EXPECT_EQ(find_invalid_utf8("\xE0\x9F\xBF"), 0u);
  EXPECT_EQ(find_invalid_utf8("\xF0\x8F\xBF\xBF"), 0u);
  EXPECT_EQ(find_invalid_utf8("\xED\xA0\x80"), 0u);      // a surrogate
  EXPECT_EQ(find_invalid_utf8("\xF4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("\xF5"), 0u);
  EXPECT_EQ(find_invalid_utf8("ab\xE8\xAA"), 2u);  // cut off
  EXPECT_EQ(find_invalid_utf8("\xE8\xAA\x61"), 0u);
}

TEST(Sha256, EqualsTheStandardsExamples) {
  EXPECT_EQ(sha256_text("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_text(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const Scratch scratch;
  const std::string million(1'000'000, 'a');
  EXPECT_EQ(sha256_file(scratch.put("x", million)), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(MemoryMap, GivesTheBytesAlsoAfterForgetting) {
  const Scratch scratch;
  std::string content(100'000, 'x');
  content[70'000] = 'y';
  MemoryMap map(scratch.put("x", content));
  ASSERT_EQ(map.bytes().size(), content.size());
  map.forget(0, content.size());
  map.forget(10, 50'000);
  map.forget(200'000, 10);
  EXPECT_EQ(map.bytes()[70'000], std::byte{'y'});
  const MemoryMap moved(std::move(map));
  EXPECT_EQ(moved.bytes()[0], std::byte{'x'});
  EXPECT_TRUE(MemoryMap(scratch.put("empty", "")).bytes().empty());
  EXPECT_TRUE(has(error_text([&] { MemoryMap m(scratch.file("absent")); }), {"absent"}));
  EXPECT_TRUE(has(error_text([&] { MemoryMap m("/dev/zero"); }), {"/dev/zero", "regular file"}));
}

TEST(WriteFileAtomically, ReplacesAndLeavesNothingBeside) {
  const Scratch scratch;
  const std::string path = scratch.put("x", "old");
  write_file_atomically(path, "new");
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(scratch.names(), std::vector<std::string>{"x"});
}

TEST(WriteFileAtomically, KeepsTheOldFileOnAFullDisk) {
  const Scratch scratch;
  const std::string path = scratch.put("x", "old");
  {
    const FileSizeLimit limit(1000);
    const std::string text =
        error_text([&] { write_file_atomically(path, std::string(5000, 'n')); }, ErrorKind::kResource);
    EXPECT_TRUE(has(text, {path, "File too large", "free some space"}));
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(scratch.names(), std::vector<std::string>{"x"});
}

TEST(WriteFileAtomically, NamesAnUnwritablePlace) {
  const Scratch scratch;
  EXPECT_TRUE(has(error_text([&] { write_file_atomically(scratch.file("no/x"), "a"); }, ErrorKind::kResource),
                  {"no/x", "No such file"}));
  ::mkdir(scratch.file("d").c_str(), 0777);
  EXPECT_TRUE(has(error_text([&] { write_file_atomically(scratch.file("d"), "a"); }, ErrorKind::kResource), {"/d"}));
  EXPECT_EQ(scratch.names(), std::vector<std::string>{"d"});
}

TEST(OutputDirectory, AppearsAtCommit) {
  const Scratch scratch;
  const std::string target = scratch.file("out/");
  OutputDirectory output(target, false);
  write_file_atomically(output.path() + "/a", "1");
  EXPECT_FALSE(fs::exists(target));
  output.commit();
  EXPECT_EQ(read_file(scratch.file("out/a")), "1");
  EXPECT_EQ(scratch.names(), std::vector<std::string>{"out"});
}

TEST(OutputDirectory, LeavesNothingBehindWithoutCommit) {
  const Scratch scratch;
  {
    OutputDirectory output(scratch.file("deep/er/out"), false);
    write_file_atomically(output.path() + "/a", "1");
    EXPECT_EQ(scratch.names(), std::vector<std::string>{"deep"});
  }
  EXPECT_TRUE(scratch.names().empty());
}

TEST(OutputDirectory, RefusesAnExistingTarget) {
  const Scratch scratch;
  scratch.put("out", "a file");
  EXPECT_TRUE(has(error_text([&] { OutputDirectory o(scratch.file("out"), false); }), {"/out", "exists already"}));
  EXPECT_TRUE(has(error_text([&] { OutputDirectory o(scratch.file("out"), true); }), {"/out", "is a file"}));
  EXPECT_TRUE(has(error_text([&] { OutputDirectory o(".", true); }), {"working directory"}));
  EXPECT_TRUE(has(error_text([&] { OutputDirectory o("/", true); }), {"working directory"}));
  EXPECT_EQ(scratch.names(), std::vector<std::string>{"out"});
}

TEST(OutputDirectory, ReplacesTheOldOneOnlyAtCommit) {
  const Scratch scratch;
  fs::create_directory(scratch.file("out"));
  scratch.put("out/old", "old");
  {
    const OutputDirectory output(scratch.file("out"), true);
    write_file_atomically(output.path() + "/new", "new");
  }
  EXPECT_TRUE(fs::exists(scratch.file("out/old")));
  OutputDirectory output(scratch.file("out"), true);
  write_file_atomically(output.path() + "/new", "new");
  output.commit();
  EXPECT_FALSE(fs::exists(scratch.file("out/old")));
  EXPECT_EQ(read_file(scratch.file("out/new")), "new");
  EXPECT_EQ(scratch.names(), std::vector<std::string>{"out"});
}

TEST(OutputDirectory, RemovesWhatAKilledProcessLeft) {
  const Scratch scratch;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  fs::create_directory(scratch.file("out.tmp-" + std::to_string(child)));
  fs::create_directory(scratch.file("out.tmp-notes"));
  fs::create_directory(scratch.file("out.tmp-1"));  // a process that runs
  { const OutputDirectory output(scratch.file("out"), false); }
  EXPECT_EQ(scratch.names(), (std::vector<std::string>{"out.tmp-1", "out.tmp-notes"}));
}

TEST(ScratchFile, GivesBackInTheOppositeOrderAndLeavesNothing) {
  const Scratch scratch;
  {
    ScratchFile file(scratch.path());
    const std::string first(100'000, 'a'), second = "second", third = "3";
    file.push(first.data(), first.size());
    file.push(second.data(), second.size());
    std::string found(second.size(), ' ');
    file.pop(found.data(), found.size());
    EXPECT_EQ(found, second);
    file.push(third.data(), third.size());  // in the place of what was popped
    found.resize(third.size());
    file.pop(found.data(), found.size());
    EXPECT_EQ(found, third);
    found.resize(first.size());
    file.pop(found.data(), found.size());
    EXPECT_EQ(found, first);
    EXPECT_TRUE(scratch.names().empty());
  }
  const std::string missing = scratch.file("missing");
  EXPECT_TRUE(has(error_text([&] { const ScratchFile file(missing); }, ErrorKind::kResource), {missing, "create"}));
}

}  // namespace
}  // namespace ockham
