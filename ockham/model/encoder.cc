// Names of tensors by family, and the forward pass.
#include "ockham/model/encoder.h"

#include <ATen/core/grad_mode.h>

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/safetensors.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

constexpr int64_t kLargest = 1 << 20;  // of any size in a config

// How a family spells its settings and tensors.
struct EncoderFamily {
  const char* name;
  const char *hidden, *layers, *heads, *intermediate, *activation;               // keys of config.json
  const char *stem, *layer;                                                      // "bert.", "encoder.layer."
  const char *query, *key, *value, *output, *attention_norm, *up, *down, *norm;  // of a layer
  const char *pooler, *classifier;
};
constexpr EncoderFamily kBert = {"bert",
                                 "hidden_size",
                                 "num_hidden_layers",
                                 "num_attention_heads",
                                 "intermediate_size",
                                 "hidden_act",
                                 "bert.",
                                 "encoder.layer.",
                                 "attention.self.query",
                                 "attention.self.key",
                                 "attention.self.value",
                                 "attention.output.dense",
                                 "attention.output.LayerNorm",
                                 "intermediate.dense",
                                 "output.dense",
                                 "output.LayerNorm",
                                 "bert.pooler.dense",
                                 "classifier"};
constexpr EncoderFamily kRoberta = [] {
  EncoderFamily family = kBert;
  family.name = "roberta";
  family.stem = "roberta.";
  family.pooler = "classifier.dense";
  family.classifier = "classifier.out_proj";
  return family;
}();
constexpr EncoderFamily kDistilbert = {"distilbert",      "dim",
                                       "n_layers",        "n_heads",
                                       "hidden_dim",      "activation",
                                       "distilbert.",     "transformer.layer.",
                                       "attention.q_lin", "attention.k_lin",
                                       "attention.v_lin", "attention.out_lin",
                                       "sa_layer_norm",   "ffn.lin1",
                                       "ffn.lin2",        "output_layer_norm",
                                       "pre_classifier",  "classifier"};
constexpr std::array kFamilies = {kBert, kDistilbert, kRoberta};

const EncoderFamily& find_encoder_family(const std::string& name, const std::string& where) {
  for (const EncoderFamily& family : kFamilies)
    if (family.name == name) return family;
  throw_error(ErrorKind::kUnsupported,
              "{}: key 'model_type' is '{}', expected bert, distilbert or roberta; choose such a classifier", where,
              name);
}

int64_t read_size(const Json& config, const char* key, const std::string& where) {
  const int64_t size = json_integer(config, key, where);
  if (size < 1 || size > kLargest) throw_input("{}: key '{}' is {}, expected 1 to {}", where, key, size, kLargest);
  return size;
}

// id2label is an object of texts by number; without one labels are numbered.
std::vector<std::string> read_labels(const Json& config, const std::string& where) {
  const auto found = config.find("id2label");
  if (found == config.end() || found->is_null()) {
    const int64_t count = json_integer(config, "num_labels", where, 2);
    if (count < 1 || count > kLargest) throw_input("{}: key 'num_labels' is {}, expected at least 1", where, count);
    std::vector<std::string> labels;
    for (int64_t i = 0; i < count; ++i) labels.push_back(fmt::format("LABEL_{}", i));
    return labels;
  }
  if (!found->is_object() || found->empty())
    throw_input("{}: key 'id2label' is {}, expected an object of labels", where, found->dump());
  std::vector<std::string> labels(found->size());
  for (const auto& [key, value] : found->items()) {
    const bool is_number = !key.empty() && key.size() < 8 && key.find_first_not_of("0123456789") == std::string::npos;
    const size_t index = is_number ? std::stoul(key) : labels.size();
    if (index >= labels.size() || !value.is_string() || !labels[index].empty())
      throw_input("{}: key 'id2label' holds '{}', expected 0 to {} with a text each", where, key, labels.size() - 1);
    labels[index] = value.get<std::string>();
  }
  return labels;
}

}  // namespace

EncoderConfig EncoderConfig::parse(const Json& config, const std::string& where) {
  if (!config.is_object()) throw_input("{}: is {}, expected an object", where, config.type_name());
  EncoderConfig result;
  result.family = json_text(config, "model_type", where);
  const EncoderFamily& family = find_encoder_family(result.family, where);
  result.hidden = read_size(config, family.hidden, where);
  result.layers = read_size(config, family.layers, where);
  result.heads = read_size(config, family.heads, where);
  result.intermediate = read_size(config, family.intermediate, where);
  result.vocabulary = read_size(config, "vocab_size", where);
  result.positions = read_size(config, "max_position_embeddings", where);
  result.activation = json_text(config, family.activation, where, "gelu");
  if (result.activation != "gelu" && result.activation != "gelu_new" && result.activation != "relu")
    throw_error(ErrorKind::kUnsupported, "{}: key '{}' is '{}', expected gelu, gelu_new or relu", where,
                family.activation, result.activation);
  if (result.hidden % result.heads != 0)
    throw_input("{}: {} heads do not divide key '{}' {}", where, result.heads, family.hidden, result.hidden);
  if (const std::string kind = json_text(config, "position_embedding_type", where, "absolute"); kind != "absolute")
    throw_error(ErrorKind::kUnsupported, "{}: key 'position_embedding_type' is '{}', expected absolute", where, kind);
  if (result.family != "distilbert") {
    result.token_types = read_size(config, "type_vocab_size", where);
    result.norm_eps = json_real(config, "layer_norm_eps", where, 1e-12);
  }
  if (result.family == "roberta") result.position_offset = json_integer(config, "pad_token_id", where, 1) + 1;
  if (result.position_offset < 0 || result.context_length() < 1)
    throw_input("{}: {} positions behind the first {}, expected at least one; correct max_position_embeddings", where,
                result.positions, result.position_offset);
  result.labels = read_labels(config, where);
  // As transformers' pipeline decides; a softmax over one label would say nothing.
  const std::string problem = json_text(config, "problem_type", where, "");
  result.is_multi_label = problem == "multi_label_classification" || result.labels.size() == 1;
  if (problem == "regression")
    throw_error(ErrorKind::kUnsupported, "{}: key 'problem_type' is 'regression', expected a classifier", where);
  return result;
}

EncoderClassifier::EncoderClassifier(const std::string& directory) : directory_(directory) {
  if (!fs::is_directory(directory))
    throw_input("{}: no such folder, expected one with config.json, model.safetensors and tokenizer.json", directory);
  const std::string config_path = directory + "/config.json", path = directory + "/model.safetensors";
  if (!fs::is_regular_file(config_path)) throw_input("{}: config.json is missing; download the model again", directory);
  config_ = EncoderConfig::parse(read_json_file(config_path), config_path);
  if (!fs::is_regular_file(path))
    throw_input(
        "{}: model.safetensors is missing; where there is a pytorch_model.bin, load it with transformers and "
        "save_pretrained() once",
        directory);
  const SafetensorsFile file(path);
  sha256_ = sha256_file(path);
  const EncoderFamily& family = find_encoder_family(config_.family, config_path);
  const auto load = [&](const std::string& name, const std::vector<int64_t>& shape) {
    const TensorInfo* info = file.find(name);
    // Files of older trainings name the parts of a norm otherwise.
    if (info == nullptr && name.ends_with("LayerNorm.weight"))
      info = file.find(name.substr(0, name.size() - 6) + "gamma");
    if (info == nullptr && name.ends_with("LayerNorm.bias")) info = file.find(name.substr(0, name.size() - 4) + "beta");
    if (info == nullptr)
      throw_input("{}: tensor '{}' is missing; choose a model for sequence classification that transformers saved",
                  path, name);
    if (info->shape != shape)
      throw_input("{}: tensor '{}' has shape [{}], expected [{}] from {}; config and weights are not of one model",
                  path, name, fmt::join(info->shape, ", "), fmt::join(shape, ", "), config_path);
    if (info->dtype != DType::kF32 && info->dtype != DType::kF16 && info->dtype != DType::kBF16)
      throw_error(ErrorKind::kUnsupported, "{}: tensor '{}' has dtype {}, expected F32, F16 or BF16", path, name,
                  dtype_name(info->dtype));
    Tensor stored = at::empty(info->shape, to_scalar_type(info->dtype));
    const auto bytes = file.data(*info);
    if (!bytes.empty()) std::memcpy(stored.mutable_data_ptr(), bytes.data(), bytes.size());
    Tensor values = stored.to(at::kFloat);
    if (!values.isfinite().all().item<bool>())
      throw_input("{}: tensor '{}' holds values that are not finite", path, name);
    return values;
  };
  const auto dense = [&](const std::string& name, int64_t rows, int64_t columns) {
    return Dense{load(name + ".weight", {rows, columns}), load(name + ".bias", {rows})};
  };
  const auto norm_of = [&](const std::string& name) {
    return Norm{load(name + ".weight", {config_.hidden}), load(name + ".bias", {config_.hidden})};
  };
  const std::string stem = family.stem, embeddings = stem + "embeddings.";
  const int64_t hidden = config_.hidden;
  words_ = load(embeddings + "word_embeddings.weight", {config_.vocabulary, hidden});
  positions_ = load(embeddings + "position_embeddings.weight", {config_.positions, hidden});
  if (config_.token_types > 0)
    types_ = load(embeddings + "token_type_embeddings.weight", {config_.token_types, hidden});
  embedding_norm_ = norm_of(embeddings + "LayerNorm");
  for (int64_t i = 0; i < config_.layers; ++i) {
    const std::string prefix = fmt::format("{}{}{}.", stem, family.layer, i);
    layers_.push_back({dense(prefix + family.query, hidden, hidden), dense(prefix + family.key, hidden, hidden),
                       dense(prefix + family.value, hidden, hidden), dense(prefix + family.output, hidden, hidden),
                       dense(prefix + family.up, config_.intermediate, hidden),
                       dense(prefix + family.down, hidden, config_.intermediate),
                       norm_of(prefix + family.attention_norm), norm_of(prefix + family.norm)});
  }
  pooler_ = dense(family.pooler, hidden, hidden);
  classifier_ = dense(family.classifier, static_cast<int64_t>(config_.labels.size()), hidden);
}

Tensor EncoderClassifier::Dense::operator()(const Tensor& input) const {
  return at::linear(input, weight, bias);
}

Tensor EncoderClassifier::norm(const Tensor& input, const Norm& norm) const {
  return at::layer_norm(input, {config_.hidden}, norm.weight, norm.bias, config_.norm_eps);
}

Tensor EncoderClassifier::layer(const Tensor& hidden, const Layer& layer, const Tensor& mask) const {
  const int64_t batch = hidden.size(0), tokens = hidden.size(1), width = config_.hidden / config_.heads;
  const auto heads = [&](const Tensor& values) {
    return values.view({batch, tokens, config_.heads, width}).transpose(1, 2);
  };
  Tensor scores = heads(layer.query(hidden)).matmul(heads(layer.key(hidden)).transpose(2, 3));
  scores = scores / std::sqrt(static_cast<double>(width));
  if (mask.defined()) scores = scores.masked_fill(mask, -std::numeric_limits<float>::infinity());
  const Tensor mixed =
      scores.softmax(-1).matmul(heads(layer.value(hidden))).transpose(1, 2).reshape({batch, tokens, config_.hidden});
  const Tensor attended = norm(layer.output(mixed) + hidden, layer.attention_norm);
  Tensor inner = layer.up(attended);
  inner = config_.activation == "relu" ? inner.relu() : at::gelu(inner, config_.activation == "gelu" ? "none" : "tanh");
  return norm(layer.down(inner) + attended, layer.output_norm);
}

Tensor EncoderClassifier::logits(const Tensor& ids, const Tensor& padding) const {
  const at::NoGradGuard no_grad;
  OCKHAM_CHECK(ids.dim() == 2 && ids.size(1) > 0);
  const int64_t tokens = ids.size(1);
  if (tokens > config_.context_length())
    throw_input("{}: {} tokens, expected at most {}; cut the text", directory_, tokens, config_.context_length());
  if (ids.min().item<int64_t>() < 0 || ids.max().item<int64_t>() >= config_.vocabulary)
    throw_input("{}: a token id is outside the vocabulary of {}; tokenizer and weights are not of one model",
                directory_, config_.vocabulary);
  // Padding stands behind the text, so positions simply count.
  Tensor hidden = at::embedding(words_, ids) + positions_.narrow(0, config_.position_offset, tokens).unsqueeze(0);
  if (types_.defined()) hidden = hidden + types_[0];
  hidden = norm(hidden, embedding_norm_);
  const Tensor mask = padding.defined() ? padding.unsqueeze(1).unsqueeze(1) : Tensor();
  for (const Layer& each : layers_) hidden = layer(hidden, each, mask);
  const Tensor pooled = pooler_(hidden.select(1, 0));
  return classifier_(config_.family == "distilbert" ? pooled.relu() : pooled.tanh());
}

Tensor EncoderClassifier::probabilities(const Tensor& ids, const Tensor& padding) const {
  const Tensor values = logits(ids, padding);
  return config_.is_multi_label ? values.sigmoid() : values.softmax(-1);
}

}  // namespace ockham
