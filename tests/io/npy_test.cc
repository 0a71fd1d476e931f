// .npy files, byte by byte as numpy writes them.
#include "ockham/io/npy.h"

#include <gtest/gtest.h>

#include "ockham/io/file.h"
#include "tests/io/scratch.h"

namespace ockham {
namespace {

// A file of format 1.0 with this header text.
std::string make_npy(const std::string& header, const std::string& data, char major = 1) {
  std::string file = std::string("\x93NUMPY") + major + '\0';
  file += static_cast<char>(header.size() & 0xff);
  file += static_cast<char>(header.size() >> 8);
  if (major == 2) file += std::string(2, '\0');
  return file + header + data;
}

const std::string kData("\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0\5\0\0\0\6\0\0\0", 24);

NpyArray parse(const std::string& file) {
  return parse_npy(std::as_bytes(std::span(file)), "x.npy");
}

TEST(Npy, ReadsBothVersions) {
  const std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }   \n";
  for (const char major : {1, 2}) {
    const NpyArray array = parse(make_npy(header, kData, major));
    EXPECT_EQ(array.dtype, "<i4");
    EXPECT_EQ(array.shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(std::string(array.bytes.begin(), array.bytes.end()), kData);
  }
  EXPECT_TRUE(parse(make_npy("{'descr': '<f8', 'fortran_order': True, 'shape': (3,), }", kData)).shape ==
              std::vector<int64_t>{3});
  EXPECT_TRUE(
      parse(make_npy("{'shape': (), 'descr': '<f4', 'fortran_order': False}", kData.substr(0, 4))).shape.empty());
}

TEST(Npy, WritesWhatNumpyWrites) {
  const Scratch scratch;
  const std::string path = scratch.file("x.npy");
  write_token_ids_npy(path, {{1, 2, 3}, {4, 5, 6}});
  // numpy.save of numpy.array([[1, 2, 3], [4, 5, 6]], dtype="<i4"): 128 bytes of header, then the data.
  std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }";
  header.append(117 - header.size(), ' ');
  EXPECT_EQ(read_file(path), make_npy(header + "\n", kData));
  EXPECT_EQ(read_token_ids_npy(path), (std::vector<std::vector<int32_t>>{{1, 2, 3}, {4, 5, 6}}));
  EXPECT_TRUE(has(error_text([&] { write_token_ids_npy(path, {{1, 2}, {3}}); }), {"x.npy", "one length"}));
}

TEST(Npy, ReadsTokenIdsOfSixtyFourBits) {
  const Scratch scratch;
  const std::string header = "{'descr': '<i8', 'fortran_order': False, 'shape': (1, 3), }";
  const std::string data("\7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\x7f\0\0\0\0", 24);
  EXPECT_EQ(read_token_ids_npy(scratch.put("x.npy", make_npy(header, data))),
            (std::vector<std::vector<int32_t>>{{7, 0, 2147483647}}));
  std::string wrong = data;
  wrong[12] = 1;
  EXPECT_TRUE(has(error_text([&] { read_token_ids_npy(scratch.put("x.npy", make_npy(header, wrong))); }),
                  {"x.npy", "4294967296", "position 1"}));
  wrong = data;
  wrong[15] = '\x80';
  EXPECT_TRUE(
      has(error_text([&] { read_token_ids_npy(scratch.put("x.npy", make_npy(header, wrong))); }), {"-", "position 1"}));
}

TEST(Npy, RefusesOtherTokenIds) {
  const Scratch scratch;
  const auto read = [&](const std::string& header, const std::string& data) {
    return error_text([&] { read_token_ids_npy(scratch.put("x.npy", make_npy(header, data))); });
  };
  EXPECT_TRUE(has(read("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", kData), {"'<f4'", "int32"}));
  EXPECT_TRUE(
      has(read("{'descr': '<i4', 'fortran_order': False, 'shape': (6,)}", kData), {"(6)", "(sequences, tokens)"}));
  EXPECT_TRUE(has(read("{'descr': '<i4', 'fortran_order': False, 'shape': (0, 3)}", ""), {"(0, 3)"}));
}

TEST(Npy, RefusesBrokenFiles) {
  const std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }";
  const auto refusal = [](const std::string& file) { return error_text([&] { parse(file); }); };
  EXPECT_TRUE(has(refusal("PK\3\4 a zip archive"), {"x.npy", "not a .npy file"}));
  EXPECT_TRUE(has(refusal(""), {"not a .npy file"}));
  EXPECT_TRUE(has(refusal(make_npy(header, kData, 3)), {"version 3"}));
  EXPECT_TRUE(has(refusal(make_npy(header, kData + "x")), {"25 bytes"}));
  const std::string whole = make_npy(header, kData);
  for (size_t size = 0; size < whole.size(); ++size) refusal(whole.substr(0, size));
  EXPECT_TRUE(has(refusal(make_npy("{'descr': '>i4', 'fortran_order': False, 'shape': (2, 3)}", kData)),
                  {"'>i4'", "little-endian"}));
  EXPECT_TRUE(has(refusal(make_npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3)}", kData)), {"'|O'"}));
  EXPECT_TRUE(
      has(refusal(make_npy("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3)}", kData)), {"column order"}));
  EXPECT_TRUE(has(refusal(make_npy("{'descr': '<i4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", "")),
                  {"does not fit"}));
  EXPECT_TRUE(has(refusal(make_npy("{'descr': '<i4', 'fortran_order': False, 'shape': (-2, 3)}", kData)), {"shape"}));
  EXPECT_TRUE(
      has(refusal(make_npy("{'descr': '<i4', 'fortran_order': 1, 'shape': (2, 3)}", kData)), {"fortran_order"}));
  EXPECT_TRUE(has(refusal(make_npy("{'descr': '<i4', 'shape': (2, 3)}", kData)), {"missing"}));
  EXPECT_TRUE(has(refusal(make_npy("{'descr': '<i4', 'descr': '<i4'}", kData)), {"'descr'", "twice"}));
  EXPECT_TRUE(has(refusal(make_npy("{'descr': '<i4", kData)), {"unfinished"}));
}

}  // namespace
}  // namespace ockham
