// The decoder's arithmetic, in the order of the reference implementation (Hugging Face llama).
#include "ockham/model/decoder.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "ockham/core/error.h"
#include "ockham/model/families.h"
#include "ockham/tensor/fused.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// [B, T, heads * D] -> [B, heads, T, D]
Tensor split_heads(const Tensor& x, int64_t heads, int64_t head_dim) {
  return x.view({x.size(0), x.size(1), heads, head_dim}).transpose(1, 2);
}

// The projection of a fresh tensor x, which may be rotated in place where no gradient is recorded.
Tensor rotate(Tensor x, const BlockContext& context) {
  if (!can_fuse(x) || context.cos.scalar_type() != x.scalar_type()) return apply_rope(x, context.cos, context.sin);
  fused_rope(x, context.cos, context.sin);
  return x;
}

Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const BlockContext& context) {
  const bool is_grouped = q.size(1) != k.size(1);
  const bool is_causal = !context.mask.defined() && q.size(2) > 1;
  const std::optional<Tensor> mask = context.mask.defined() ? std::optional<Tensor>(context.mask) : std::nullopt;
  return at::scaled_dot_product_attention(q, k, v, mask, 0.0, is_causal, std::nullopt, is_grouped);
}

// Room for `length` tokens in every block; grows by doubling and keeps what is stored.
void reserve_cache(KvCache& cache, const ModelConfig& config, int64_t batch, int64_t length,
                   const at::TensorOptions& options) {
  const bool is_empty = cache.keys.empty();
  const int64_t capacity = is_empty ? 0 : cache.keys[0].size(2);
  if (length <= capacity) return;
  const int64_t wanted = std::max<int64_t>(length + 32, 2 * capacity);
  const size_t blocks = static_cast<size_t>(config.blocks);
  cache.keys.resize(blocks);
  cache.values.resize(blocks);
  for (std::vector<Tensor>* side : {&cache.keys, &cache.values}) {
    for (Tensor& store : *side) {
      Tensor larger = at::empty({batch, config.kv_heads, wanted, config.head_dim}, options);
      if (!is_empty) larger.narrow(2, 0, cache.length).copy_(store.narrow(2, 0, cache.length));
      store = larger;
    }
  }
  if (cache.padding.defined()) {
    Tensor larger = at::zeros({batch, wanted}, cache.padding.options());
    larger.narrow(1, 0, cache.length).copy_(cache.padding.narrow(1, 0, cache.length));
    cache.padding = larger;
  }
}

Weight to_device(const Weight& weight, at::ScalarType dtype, const at::Device& device) {
  if (const auto* dense = std::get_if<DenseWeight>(&weight)) return DenseWeight{dense->values.to(device, dtype)};
  if (const auto* sparse = std::get_if<SparseWeight>(&weight)) {
    return SparseWeight{sparse->rows, sparse->columns, sparse->values.to(device, dtype), sparse->mask.to(device)};
  }
  GroupIntWeight group = std::get<GroupIntWeight>(weight);
  for (Tensor* tensor : {&group.codes, &group.scales, &group.zeros, &group.mask, &group.group_index}) {
    if (tensor->defined()) *tensor = tensor->to(device);
  }
  return group;
}

}  // namespace

Tensor rms_norm(const Tensor& input, const Tensor& weight, double eps) {
  if (can_fuse(input) && weight.scalar_type() == input.scalar_type()) return fused_rms_norm(input, weight, eps);
  const at::ScalarType type = input.scalar_type();
  const Tensor wide = type == at::kFloat || type == at::kDouble ? input : input.to(at::kFloat);
  const Tensor inverse = at::rsqrt(wide.square().mean(-1, true).add_(eps));
  return (wide * inverse).to(type) * weight;
}

Tensor apply_rope(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  Tensor c = cos.scalar_type() == x.scalar_type() ? cos : cos.to(x.scalar_type());
  Tensor s = sin.scalar_type() == x.scalar_type() ? sin : sin.to(x.scalar_type());
  if (c.dim() == 3) {  // one table per row of the batch, the same for every head
    c = c.unsqueeze(1);
    s = s.unsqueeze(1);
  }
  const Tensor rotated = at::cat({x.narrow(-1, half, half).neg(), x.narrow(-1, 0, half)}, -1);
  return at::addcmul(x * c, rotated, s);
}

Tensor Linear::forward(const Tensor& input) const {
  const auto* dense = std::get_if<DenseWeight>(&weight);
  const Tensor matrix = dense != nullptr ? dense->values : weight_to_dense(weight, input.scalar_type());
  return bias.defined() ? at::linear(input, matrix, bias) : at::linear(input, matrix);
}

Tensor Block::apply(size_t role, const Tensor& input, const BlockContext& context) const {
  const Linear& linear = linears[role];
  if (context.observer != nullptr) context.observer->observe(linear, input.reshape({-1, input.size(-1)}));
  return linear.forward(input);
}

Tensor Block::attention(const Tensor& normed, const BlockContext& context) const {
  const int64_t batch = normed.size(0), tokens = normed.size(1);
  const Tensor q = rotate(split_heads(apply(kQuery, normed, context), config->heads, config->head_dim), context);
  Tensor k = rotate(split_heads(apply(kKey, normed, context), config->kv_heads, config->head_dim), context);
  Tensor v = split_heads(apply(kValue, normed, context), config->kv_heads, config->head_dim);
  if (context.cache != nullptr) {
    KvCache& cache = *context.cache;
    Tensor& keys = cache.keys[static_cast<size_t>(context.index)];
    Tensor& values = cache.values[static_cast<size_t>(context.index)];
    keys.narrow(2, cache.length, tokens).copy_(k);
    values.narrow(2, cache.length, tokens).copy_(v);
    k = keys.narrow(2, 0, cache.length + tokens);
    v = values.narrow(2, 0, cache.length + tokens);
  }
  const Tensor mixed =
      attend(q, k, v, context).transpose(1, 2).reshape({batch, tokens, config->heads * config->head_dim});
  return apply(kOutput, mixed, context);
}

Tensor Block::mlp(const Tensor& normed, const BlockContext& context) const {
  Tensor gated = apply(kGate, normed, context);
  if (can_fuse(gated)) {
    fused_silu_multiply(gated, apply(kUp, normed, context));
  } else {
    gated = at::silu(gated) * apply(kUp, normed, context);
  }
  return apply(kDown, gated, context);
}

Tensor Block::forward(const Tensor& hidden, const BlockContext& context) const {
  const Tensor middle = hidden + attention(rms_norm(hidden, input_norm, config->norm_eps), context);
  return middle + mlp(rms_norm(middle, post_attention_norm, config->norm_eps), context);
}

std::unique_ptr<Decoder> Decoder::random(const ModelConfig& config, uint64_t seed, DType dtype) {
  auto decoder = std::make_unique<Decoder>();
  decoder->config = config;
  decoder->config.dtype = dtype;
  const Family* family = find_family(config.family);
  OCKHAM_CHECK(family != nullptr);
  const at::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const at::TensorOptions options = at::TensorOptions().dtype(to_scalar_type(dtype));
  const auto normal = [&](int64_t rows, int64_t columns, double deviation) {
    return at::empty({rows, columns}, at::kFloat).normal_(0, deviation, generator).to(options.dtype());
  };
  const double std_dev = 0.02, scaled = std_dev / std::sqrt(2.0 * static_cast<double>(config.blocks));
  const int64_t hidden = config.hidden_size;
  decoder->embedding = normal(config.vocabulary, hidden, std_dev);
  if (!config.tied_embeddings) decoder->head = normal(config.vocabulary, hidden, std_dev);
  decoder->final_norm = at::ones({hidden}, options);
  for (int64_t index = 0; index < config.blocks; ++index) {
    Block block;
    block.config = &decoder->config;
    block.input_norm = at::ones({hidden}, options);
    block.post_attention_norm = at::ones({hidden}, options);
    for (size_t role = 0; role < kLinearRoles; ++role) {
      Linear linear;
      linear.name = block_prefix(*family, index) + std::string(family->linears[role]);
      const auto [rows, columns] = linear_shape(config, static_cast<LinearRole>(role));
      linear.weight = DenseWeight{normal(rows, columns, role == kOutput || role == kDown ? scaled : std_dev)};
      if (linear_has_bias(config, static_cast<LinearRole>(role))) linear.bias = at::zeros({rows}, options);
      block.linears.push_back(std::move(linear));
    }
    decoder->blocks.push_back(std::move(block));
  }
  return decoder;
}

Tensor Decoder::embed(const Tensor& ids) const {
  return at::embedding(embedding, ids);
}

BlockContext Decoder::make_context(int64_t batch, int64_t tokens, KvCache* cache, const Tensor& padding) const {
  const int64_t start = cache != nullptr ? cache->length : 0, length = start + tokens;
  BlockContext context;
  context.cache = cache;
  if (cache != nullptr) {
    reserve_cache(*cache, config, batch, length, embedding.options().requires_grad(false));
    if (padding.defined() && !cache->padding.defined()) {
      cache->padding = at::zeros({batch, cache->keys[0].size(2)}, padding.options());
    }
    if (cache->padding.defined()) {
      Tensor part = cache->padding.narrow(1, start, tokens);
      padding.defined() ? part.copy_(padding) : part.zero_();
    }
  }
  const Tensor absent = cache != nullptr && cache->padding.defined() ? cache->padding.narrow(1, 0, length) : padding;

  extend_rope_tables(length);
  if (absent.defined()) {
    // Positions count a row's own tokens; padded places get position 0 and are never attended to.
    const Tensor positions = absent.logical_not().cumsum(1).sub_(1).clamp_min_(0).narrow(1, start, tokens);
    context.cos = at::embedding(rope_cos_, positions);
    context.sin = at::embedding(rope_sin_, positions);
  } else {
    context.cos = rope_cos_.narrow(0, start, tokens);
    context.sin = rope_sin_.narrow(0, start, tokens);
  }
  if (!absent.defined() && (tokens == 1 || start == 0)) return context;

  const at::TensorOptions indices = at::TensorOptions().dtype(at::kLong).device(device());
  const Tensor query = at::arange(start, length, indices).unsqueeze(1), key = at::arange(length, indices).unsqueeze(0);
  Tensor mask = (key <= query).unsqueeze(0);  // [1, T, S]
  if (absent.defined()) {
    // A padded query still sees itself: a row without any key would give NaN.
    mask = mask.logical_and(absent.logical_not().unsqueeze(1)).logical_or_((key == query).unsqueeze(0));
  }
  context.mask = mask.unsqueeze(1);
  return context;
}

void Decoder::extend_rope_tables(int64_t length) const {
  const at::ScalarType type = dtype();
  if (rope_cos_.defined() && rope_cos_.size(0) >= length && rope_cos_.scalar_type() == type &&
      rope_cos_.device() == device()) {
    return;
  }
  const at::NoGradGuard no_grad;
  const int64_t rows = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(length, 64))));
  const std::vector<double> frequencies = rope_frequencies(config.rope, config.head_dim);
  // The reference multiplies float32 positions by float32 frequencies.
  const Tensor inverse = at::tensor(frequencies, at::kDouble).to(at::kFloat);
  const Tensor angles = at::outer(at::arange(rows, at::kFloat), inverse).repeat({1, 2});
  rope_cos_ = angles.cos().to(device(), type);
  rope_sin_ = angles.sin().to(device(), type);
}

Tensor Decoder::forward(const Tensor& ids, KvCache* cache, const Tensor& padding) const {
  BlockContext context = make_context(ids.size(0), ids.size(1), cache, padding);
  Tensor hidden = embed(ids);
  for (size_t i = 0; i < blocks.size(); ++i) {
    context.index = static_cast<int64_t>(i);
    hidden = blocks[i].forward(hidden, context);
  }
  if (cache != nullptr) cache->length += ids.size(1);
  return rms_norm(hidden, final_norm, config.norm_eps);
}

Tensor Decoder::logits(const Tensor& hidden) const {
  return at::linear(hidden, head.defined() ? head : embedding);
}

std::vector<std::pair<std::string, Tensor>> Decoder::parameters() const {
  const Family& family = *find_family(config.family);
  std::vector<std::pair<std::string, Tensor>> result;
  result.emplace_back(std::string(family.embedding) + ".weight", embedding);
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& block = blocks[i];
    const std::string prefix = block_prefix(family, static_cast<int64_t>(i));
    result.emplace_back(prefix + std::string(family.input_norm) + ".weight", block.input_norm);
    result.emplace_back(prefix + std::string(family.post_attention_norm) + ".weight", block.post_attention_norm);
    for (const Linear& linear : block.linears) {
      if (const auto* dense = std::get_if<DenseWeight>(&linear.weight))
        result.emplace_back(linear.name + ".weight", dense->values);
      if (linear.bias.defined()) result.emplace_back(linear.name + ".bias", linear.bias);
    }
  }
  result.emplace_back(std::string(family.final_norm) + ".weight", final_norm);
  if (head.defined()) result.emplace_back(std::string(family.head) + ".weight", head);
  return result;
}

void Block::to(at::ScalarType dtype, const at::Device& device) {
  input_norm = input_norm.to(device, dtype);
  post_attention_norm = post_attention_norm.to(device, dtype);
  for (Linear& linear : linears) {
    linear.weight = to_device(linear.weight, dtype, device);
    if (linear.bias.defined()) linear.bias = linear.bias.to(device, dtype);
  }
}

void Decoder::to(at::ScalarType dtype, const at::Device& device) {
  for (Tensor* tensor : {&embedding, &final_norm, &head}) {
    if (tensor->defined()) *tensor = tensor->to(device, dtype);
  }
  for (Block& block : blocks) block.to(dtype, device);
}

void Decoder::make_dense() {
  for (Block& block : blocks) {
    for (Linear& linear : block.linears) linear.weight = DenseWeight{weight_to_dense(linear.weight, dtype())};
  }
}

at::ScalarType Decoder::dtype() const {
  return embedding.scalar_type();
}
at::Device Decoder::device() const {
  return embedding.device();
}

}  // namespace ockham
