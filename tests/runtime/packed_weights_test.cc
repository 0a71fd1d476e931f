// Packed weights on disk: made once, used again, made again where they do not fit.
#include "ockham/runtime/packed_weights.h"

#include <filesystem>
#include <fstream>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "tests/runtime/readers/small_model.h"

namespace ockham {
namespace {

// gpt2 stores its linears transposed, so that kernels need a copy of every one.
SmallModel transposed_model(uint64_t seed) {
  const Json settings = {
      {"model_type", "gpt2"},    {"n_embd", 64}, {"n_layer", 2}, {"n_head", 4}, {"n_positions", 64}, {"vocab_size", 40},
      {"torch_dtype", "float32"}};
  return SmallModel(settings, DType::kF32, seed);
}

class PackedFile : public testing::Test {
 protected:
  void SetUp() override {
    transposed_model(1).write(scratch_.path());
    set_log_sink([this](LogLevel, std::string_view text) { log_ += std::string(text) + "\n"; });
  }
  void TearDown() override { set_log_sink({}); }

  // Opens, compares all that is packed with the model's own weights, and says what was logged.
  std::string open(const std::string& directory = "") {
    log_.clear();
    const ModelFiles files(scratch_.path());
    const std::shared_ptr<const PackedWeights> packed = PackedWeights::open(files, directory);
    size_t number = 0, stored = 0;
    for (int64_t block = 0; block < files.config().blocks; ++block) {
      for (const LinearSpec& spec : block_linears(files.config(), block)) {
        if (packed->has(number)) {
          ++stored;
          expect_equal(numbers_of(packed->view(number)), numbers_of(files.read_linear(block, spec)), spec.name);
        }
        ++number;
      }
    }
    EXPECT_EQ(packed->matrices(), number + 1);
    EXPECT_EQ(stored, number);
    return log_;
  }
  std::string path() const { return scratch_.path() + "/.ockham-packed"; }

  Scratch scratch_;
  std::string log_;
};

TEST_F(PackedFile, IsMadeOnceAndUsedAgain) {
  EXPECT_NE(open().find("is missing; packing the weights"), std::string::npos);
  EXPECT_EQ(open(), "");
  const std::string directory = scratch_.path() + "/cache/below";
  EXPECT_NE(open(directory).find("is missing"), std::string::npos);
  EXPECT_EQ(open(directory), "");
  for (const auto& entry : std::filesystem::directory_iterator(scratch_.path()))
    EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
}

TEST_F(PackedFile, IsMadeAgainWhenTheWeightsAreOthers) {
  open();
  transposed_model(2).write(scratch_.path());
  EXPECT_NE(open().find("is of other weights; packing"), std::string::npos);
  EXPECT_EQ(open(), "");
  // The same bytes at another time are known by their hash.
  std::filesystem::last_write_time(scratch_.path() + "/model.safetensors",
                                   std::filesystem::file_time_type::clock::now() - std::chrono::hours(5));
  EXPECT_EQ(open(), "");
}

TEST_F(PackedFile, IsMadeAgainWhenItIsDamaged) {
  open();
  const std::string whole = read_file(path());
  Rng rng(3);
  for (int i = 0; i < 40; ++i) {
    std::string bytes = whole;
    const auto place = static_cast<size_t>(rng.below(bytes.size()));
    if (i % 4 == 0)
      bytes.resize(place);
    else
      bytes[place] = static_cast<char>(bytes[place] ^ (1 << (i % 8)));
    std::ofstream(path(), std::ios::binary | std::ios::trunc) << bytes;
    open();
  }
  std::ofstream(path(), std::ios::binary | std::ios::trunc) << "";
  EXPECT_NE(open().find("is cut short"), std::string::npos);
}

TEST_F(PackedFile, NeedsAPlaceToBeWritten) {
  const ModelFiles files(scratch_.path());
  std::ofstream(scratch_.path() + "/file") << "x";
  EXPECT_THROW(PackedWeights::open(files, scratch_.path() + "/file/below"), Error);
}

}  // namespace
}  // namespace ockham
