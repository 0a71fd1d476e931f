// The format doctor on models of every kind of layout.
#include "ockham/pipeline/doctor.h"

#include <ATen/core/grad_mode.h>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/model/interchange_writer.h"
#include "ockham/model/packed.h"
#include "tests/model/model_fixture.h"

namespace ockham {
namespace {

constexpr const char* kMini = OCKHAM_SOURCE_DIR "/models/mini";

// The embedded model in 4 bits of a layout; "packed" is Ockham's own.
FormatDiagnosis write_and_diagnose(const std::string& directory, const std::string& format, bool is_symmetric) {
  const at::NoGradGuard no_grad;
  const Checkpoint source(kMini);
  std::filesystem::create_directories(directory);
  InterchangeWriter interchange({format == "packed" ? "gptq" : format, 0, 64, !is_symmetric});
  CheckpointWriter::Options options;
  options.is_packed = format == "packed";
  if (!options.is_packed) options.interchange = &interchange;
  CheckpointWriter writer(directory, source.config(), options);
  write_frame(writer, *source.read_frame(DType::kF32), DType::kBF16);
  for (int64_t index = 0; index < source.config().blocks; ++index) {
    Block block = source.read_block(index, DType::kF32);
    for (Linear& linear : block.linears)
      linear.weight = round_to_grid(weight_to_dense(linear.weight, at::kFloat), 4, 64, is_symmetric);
    write_block(writer, block, index, DType::kBF16);
  }
  writer.finish(kMini);
  return diagnose_format(Checkpoint(directory));
}

std::string loading(const FormatDiagnosis& diagnosis) {
  std::string text;
  for (const LoaderVerdict& loader : diagnosis.loaders) text += loader.loads ? '+' : '-';
  return text;
}

bool mentions(const FormatDiagnosis& diagnosis, const std::string& text) {
  for (const std::string& problem : diagnosis.problems) {
    if (problem.find(text) != std::string::npos) return true;
  }
  return false;
}

TEST(Doctor, ADensePlainModelIsHealthy) {
  const FormatDiagnosis diagnosis = diagnose_format(Checkpoint(kMini));
  EXPECT_EQ(diagnosis.layout, "dense");
  EXPECT_EQ(diagnosis.zero_points, "none");
  EXPECT_EQ(diagnosis.projections, "q, k, v split; gate, up split");
  EXPECT_EQ(diagnosis.head, "tied to the embedding");
  EXPECT_EQ(diagnosis.chat_template, "renders with its own first token");
  EXPECT_EQ(diagnosis.dense_bytes, diagnosis.stored_bytes);
  EXPECT_TRUE(diagnosis.problems.empty()) << diagnosis.problems.front();
  EXPECT_EQ(loading(diagnosis), "+++");
}

TEST(Doctor, SaysWhatLoadsEachLayout) {
  const test::ScratchDirectory scratch;
  const struct {
    const char* format;
    bool is_symmetric;
    const char *loads, *zeros;  // transformers, vLLM, llama.cpp
  } cases[] = {
      {"packed", true, "---", "none: symmetric or dense"},
      {"packed", false, "---", "stored as they are"},
      {"compressed-tensors", true, "+++", "none"},
      {"compressed-tensors", false, "-++", "signed about the middle, packed along the outputs"},
      {"gptq", true, "+++", "stored minus one (gptq, v1)"},
      {"gptq_v2", false, "+++", "stored as they are (gptq_v2)"},
      {"awq", false, "++-", "stored as they are, columns in AWQ's order"},
  };
  int number = 0;
  for (const auto& row : cases) {
    const FormatDiagnosis diagnosis =
        write_and_diagnose(scratch.path(std::to_string(number++)), row.format, row.is_symmetric);
    EXPECT_EQ(loading(diagnosis), row.loads) << row.format;
    EXPECT_EQ(diagnosis.zero_points, row.zeros) << row.format;
    EXPECT_LT(diagnosis.stored_bytes, diagnosis.dense_bytes / 2) << row.format;
    EXPECT_TRUE(diagnosis.problems.empty()) << row.format << ": " << diagnosis.problems.front();
  }
}

TEST(Doctor, FindsAWrongLabel) {
  const test::ScratchDirectory scratch;
  write_and_diagnose(scratch.path("m"), "gptq", true);
  Json config = read_json_file(scratch.path("m/config.json"));
  config["quantization_config"]["checkpoint_format"] = "gptq_v2";
  test::write_text(scratch.path("m/config.json"), config.dump());
  const FormatDiagnosis diagnosis = diagnose_format(Checkpoint(scratch.path("m")));
  EXPECT_TRUE(mentions(diagnosis, "labelled checkpoint_format 'gptq_v2'"));
  EXPECT_EQ(diagnosis.zero_points, "stored minus one (gptq, v1)");
}

TEST(Doctor, FindsProblemsOfTokenizerAndFiles) {
  const test::ScratchDirectory scratch;
  const std::string directory = scratch.path("m");
  std::filesystem::copy(kMini, directory);
  Json settings = read_json_file(directory + "/tokenizer_config.json");
  settings["chat_template"] =
      "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ "
      "bos_token }}{{ messages[0].content }}";
  test::write_text(directory + "/tokenizer_config.json", settings.dump());
  test::write_text(directory + "/pytorch_model.bin", "x");
  FormatDiagnosis diagnosis = diagnose_format(Checkpoint(directory));
  EXPECT_EQ(diagnosis.chat_template, "renders with its own first token; refuses a system message");
  EXPECT_TRUE(mentions(diagnosis, "add_generation_prompt"));
  EXPECT_TRUE(mentions(diagnosis, "pytorch_model.bin lies beside"));
  std::filesystem::remove(directory + "/tokenizer.json");
  diagnosis = diagnose_format(Checkpoint(directory));
  EXPECT_EQ(diagnosis.chat_template, "no tokenizer");
  EXPECT_TRUE(mentions(diagnosis, "tokenizer.json"));
}

TEST(Doctor, PickledWeightsAreRefusedWithTheCommandThatConvertsThem) {
  const test::ScratchDirectory scratch;
  std::filesystem::copy(std::string(kMini) + "/config.json", scratch.path("config.json"));
  test::write_text(scratch.path("pytorch_model-00001-of-00002.bin"), "x");
  try {
    const Checkpoint checkpoint(scratch.path());
    FAIL() << "was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    const std::string text = error.what();
    EXPECT_NE(text.find("pytorch_model-00001-of-00002.bin"), std::string::npos) << text;
    EXPECT_NE(text.find("save_pretrained"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ockham
