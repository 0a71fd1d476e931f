// safetensors: the worked example byte by byte, writing and reading back, and every way in which a header can lie.
#include "ockham/io/safetensors.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstring>

#include "ockham/io/json.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

// File of a header text and so many data bytes, counting up from 0.
std::string make_file(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), sizeof length);
  file += header;
  for (size_t i = 0; i < data_bytes; ++i) file += static_cast<char>(i);
  return file;
}

SafetensorsHeader parse_safetensors(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), static_cast<int64_t>(file.size()), "x.safetensors");
}

std::string refusal(const std::string& header, size_t data_bytes, ErrorKind kind = ErrorKind::kInput) {
  return error_text([&] { parse_safetensors(make_file(header, data_bytes)); }, kind);
}

// Entry of a tensor "NAME" of F32 [count] at [begin, end).
std::string entry(const std::string& name, int count, int begin, int end) {
  return fmt::format(R"("{}":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})", name, count, begin, end);
}

const char* const kExampleHeader =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
    R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[16,20]}})";
const unsigned char kExampleData[] = {0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00,
                                      0x40, 0x40, 0x00, 0x00, 0x80, 0xc0, 0x80, 0x3f, 0x20, 0xc0};

std::string example_file() {
  return make_file(kExampleHeader, 0) + std::string(reinterpret_cast<const char*>(kExampleData), sizeof kExampleData);
}

TEST(Safetensors, ReadsTheWorkedExample) {
  const std::string content = example_file();
  ASSERT_EQ(content.size(), 172u);
  ASSERT_EQ(static_cast<unsigned char>(content[0]), 0x90);
  const Scratch scratch;
  const SafetensorsFile file(scratch.put("x.safetensors", content));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.tensors().size(), 2u);
  const TensorInfo* a = file.find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, DType::kF32);
  EXPECT_EQ(a->shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(a->elements(), 4);
  float values[4];
  ASSERT_EQ(file.data(*a).size(), sizeof values);
  std::memcpy(values, file.data(*a).data(), sizeof values);
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[3], -4.0f);
  const TensorInfo* b = file.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, DType::kBF16);
  file.forget(*a);
  EXPECT_EQ(file.data(*b)[2], std::byte{0x20});
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST(Safetensors, WritesTheWorkedExample) {
  const Scratch scratch;
  const std::string path = scratch.file("x.safetensors");
  SafetensorsWriter writer(path, {{"a", DType::kF32, {2, 2}}, {"b", DType::kBF16, {2}}}, {{"format", "pt"}});
  const auto data = std::as_bytes(std::span(kExampleData));
  writer.append("a", data.subspan(0, 16));
  writer.append("b", data.subspan(16));
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.finish();
  EXPECT_EQ(read_file(path), example_file());
  EXPECT_EQ(scratch.names(), std::vector<std::string>{"x.safetensors"});
}

TEST(Safetensors, HeaderOfTheWriterIsPadded) {
  const Scratch scratch;
  const std::string path = scratch.file("x.safetensors");
  SafetensorsWriter writer(
      path, {{"odd \"name\" ü", DType::kU8, {3}}, {"scalar", DType::kI64, {}}, {"none", DType::kF32, {0, 4}}}, {});
  const std::vector<std::byte> bytes(8, std::byte{7});
  writer.append("odd \"name\" ü", std::span(bytes).subspan(0, 3));
  writer.append("scalar", bytes);
  writer.append("none", {});
  writer.finish();
  const SafetensorsFile file(path);
  const std::string content = read_file(path);
  EXPECT_EQ(static_cast<unsigned char>(content[0]) % 8, 0);
  ASSERT_NE(file.find("odd \"name\" ü"), nullptr);
  EXPECT_EQ(file.find("scalar")->elements(), 1);
  EXPECT_EQ(file.data(*file.find("scalar"))[7], std::byte{7});
  EXPECT_EQ(file.find("none")->elements(), 0);
  EXPECT_TRUE(file.data(*file.find("none")).empty());
}

TEST(Safetensors, WriterLeavesNothingWhenNotFinished) {
  const Scratch scratch;
  {
    SafetensorsWriter writer(scratch.file("x"), {{"a", DType::kU8, {2}}}, {});
    error_text([&] { writer.append("b", {}); }, ErrorKind::kInternal);
    error_text([&] { writer.append("a", {}); }, ErrorKind::kInternal);
    error_text([&] { writer.finish(); }, ErrorKind::kInternal);
  }
  EXPECT_TRUE(scratch.names().empty());
  error_text(
      [&] {
        SafetensorsWriter w(scratch.file("x"), {{"a", DType::kU8, {}}, {"a", DType::kU8, {}}}, {});
      },
      ErrorKind::kInternal);
  EXPECT_TRUE(scratch.names().empty());
}

TEST(Safetensors, WriterReportsAFullDisk) {
  const Scratch scratch;
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit previous{};
  ::getrlimit(RLIMIT_FSIZE, &previous);
  {
    SafetensorsWriter writer(scratch.file("x"), {{"a", DType::kU8, {100'000}}}, {});
    const rlimit limit{5000, previous.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::vector<std::byte> bytes(100'000);
    EXPECT_TRUE(has(error_text([&] { writer.append("a", bytes); }, ErrorKind::kResource), {"/x", "cannot write"}));
  }
  ::setrlimit(RLIMIT_FSIZE, &previous);
  ::signal(SIGXFSZ, handler);
  EXPECT_TRUE(scratch.names().empty());
}

TEST(SafetensorsHeader, AcceptsWhatTheReferenceAccepts) {
  // Padding before and behind, unaligned tensors, any order, scalars, empty tensors at any place.
  const SafetensorsHeader header = parse_safetensors(make_file(
      R"(  {"f":{"dtype":"F32","shape":[],"data_offsets":[1,5]},"e":{"shape":[0,9],"data_offsets":[1,1],"dtype":"F64"},)"
      R"("u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}} )"
      "\n  ",
      5));
  ASSERT_EQ(header.tensors.size(), 3u);
  EXPECT_EQ(header.tensors[0].name, "u");
  EXPECT_EQ(header.tensors[1].name, "e");
  EXPECT_EQ(header.tensors[2].name, "f");
  EXPECT_TRUE(parse_safetensors(make_file("{}", 0)).tensors.empty());
}

TEST(SafetensorsHeader, RefusesHolesOverlapsAndTrailingBytes) {
  EXPECT_TRUE(has(refusal("{" + entry("a", 1, 0, 4) + "," + entry("b", 1, 8, 12) + "}", 12),
                  {"x.safetensors", "'b'", "byte 8", "expected 4", "belong to no tensor"}));
  EXPECT_TRUE(has(refusal("{" + entry("a", 2, 0, 8) + "," + entry("b", 1, 4, 8) + "}", 8), {"'b'", "overlap"}));
  EXPECT_TRUE(has(refusal("{" + entry("a", 1, 0, 4) + "}", 7), {"3 bytes follow"}));
  EXPECT_TRUE(has(refusal("{" + entry("a", 1, 4, 8) + "}", 8), {"'a'", "byte 4"}));
  EXPECT_TRUE(has(refusal("{}", 1), {"1 bytes follow"}));
}

TEST(SafetensorsHeader, RefusesSizesThatDoNotFit) {
  EXPECT_TRUE(has(refusal("{" + entry("a", 3, 0, 8) + "}", 8), {"'a'", "8 bytes", "expected 12"}));
  EXPECT_TRUE(has(refusal("{" + entry("a", 2, 0, 8) + "}", 6), {"'a'", "byte 8", "at most 6", "truncated"}));
  EXPECT_TRUE(has(refusal("{" + entry("a", 1, 4, 0) + "}", 4), {"'a'", "[4, 0]"}));
  const std::string huge =
      R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})";  // 2^62 * 16 wraps round to 0
  EXPECT_TRUE(has(refusal(huge, 0), {"'a'", "expected fewer elements"}));
  const std::string empty = R"({"a":{"dtype":"F32","shape":[4611686018427387904,8,0],"data_offsets":[0,0]}})";
  EXPECT_EQ(parse_safetensors(make_file(empty, 0)).tensors[0].elements(), 0);
}

TEST(SafetensorsHeader, RefusesDuplicates) {
  EXPECT_TRUE(has(refusal("{" + entry("a", 1, 0, 4) + "," + entry("a", 1, 4, 8) + "}", 8), {"'a'", "twice"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1),
                  {"'dtype'", "twice", "'a'"}));
  EXPECT_TRUE(has(refusal(R"({"__metadata__":{"k":"1","k":"2"}})", 0), {"'k'", "twice"}));
}

TEST(SafetensorsHeader, RefusesMistypedEntries) {
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":"Q9","shape":[1],"data_offsets":[0,1]}})", 1, ErrorKind::kUnsupported),
                  {"'a'", "'Q9'", "BF16"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,1]}})", 1), {"'a'", "'dtype'", "text"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", 1), {"'a'", "'shape'", "-1"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}})", 1), {"'shape'", "1.5"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":"U8","shape":["1"],"data_offsets":[0,1]}})", 1), {"'shape'", "text"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", 1), {"'shape'", "a list"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}})", 1), {"'shape'"}));
  EXPECT_TRUE(
      has(refusal(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,1]}})", 1), {"'shape'"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 1), {"'a'", "[0, 1, 2]"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":"U8","shape":[1]}})", 1), {"'a'", "'data_offsets'"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":"y"}})", 1), {"'a'", "'x'"}));
  EXPECT_TRUE(has(refusal(R"({"a":{"dtype":{},"shape":[1],"data_offsets":[0,1]}})", 1), {"'a'", "object"}));
  EXPECT_TRUE(has(refusal(R"({"a":5})", 0), {"'a'", "5", "object"}));
  EXPECT_TRUE(has(refusal(R"({"__metadata__":{"k":1}})", 0), {"'k'", "text"}));
  EXPECT_TRUE(has(refusal(R"([1])", 0), {"header", "object"}));
  EXPECT_TRUE(has(refusal(R"(null)", 0), {"header", "object"}));
}

TEST(SafetensorsHeader, RefusesBrokenJson) {
  EXPECT_TRUE(has(refusal(R"({"a":)", 0), {"x.safetensors", "JSON"}));
  EXPECT_TRUE(has(refusal(R"({} {})", 0), {"JSON"}));
  EXPECT_TRUE(has(refusal(std::string("{}\0{}", 5), 0), {"NUL"}));
  EXPECT_TRUE(has(refusal("{\"\xff\":1}", 0), {"UTF-8"}));
  EXPECT_TRUE(has(refusal("", 0), {"JSON"}));
}

TEST(SafetensorsHeader, RefusesTruncatedAndOversizedFiles) {
  const std::string file = example_file();
  for (size_t size = 0; size < file.size(); ++size) error_text([&] { parse_safetensors(file.substr(0, size)); });
  EXPECT_TRUE(has(error_text([&] { parse_safetensors("1234567"); }), {"7 bytes", "at least 8"}));
  const std::string longer = make_file("{}", 0).replace(0, 1, "\x7f");
  EXPECT_TRUE(has(error_text([&] { parse_safetensors(longer); }), {"127 bytes", "only 2 follow"}));
  EXPECT_TRUE(has(error_text([&] { parse_safetensors(std::string(16, '\xff')); }), {"at most 100000000"}));
}

TEST(SafetensorsHeader, ManyTensorsTakeLinearTime) {
  std::string header = "{";
  for (int i = 0; i < 50'000; ++i) header += (i > 0 ? "," : "") + entry("tensor." + std::to_string(i), 0, 0, 0);
  EXPECT_EQ(parse_safetensors(make_file(header + "}", 0)).tensors.size(), 50'000u);
}

}  // namespace
}  // namespace ockham
