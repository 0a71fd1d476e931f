// The decoder's arithmetic, in the order of the reference implementations (Hugging Face).
#include "ockham/model/decoder.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "ockham/core/error.h"
#include "ockham/model/families.h"
#include "ockham/tensor/attention.h"
#include "ockham/tensor/fused.h"
#include "ockham/tensor/ops.h"
#include "ockham/tensor/panels.h"

namespace ockham {
namespace {

// [B, T, heads * D] -> [B, heads, T, D]
Tensor split_heads(const Tensor& x, int64_t heads, int64_t head_dim) {
  return x.view({x.size(0), x.size(1), heads, head_dim}).transpose(1, 2);
}

// A fresh tensor x, which may be rotated in place where no gradient is recorded.
Tensor rotate(Tensor x, const Tensor& cos, const Tensor& sin) {
  if (!cos.defined()) return x;
  if (!can_fuse(x) || cos.scalar_type() != x.scalar_type()) return apply_rope(x, cos, sin);
  Tensor rotated = x.narrow(-1, 0, cos.size(-1));
  fused_rope(rotated, cos, sin);
  return x;
}

// [B, heads, T, D] -> [B, T, heads * D]
Tensor join_heads(const Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), x.size(1) * x.size(3)});
}

// q [B, heads, T, D], k and v [B, kv_heads, S, D] -> [B, T, heads * D]
Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& given_mask, const ModelConfig& config) {
  const bool is_grouped = q.size(1) != k.size(1);
  const bool is_causal = !given_mask.defined() && q.size(2) > 1;
  const double factor =
      config.attention_scale > 0 ? config.attention_scale : 1 / std::sqrt(static_cast<double>(config.head_dim));
  if (config.attention_softcap <= 0 && suits_fused_attention(q, k, given_mask))
    return fused_attention(q, k, v, given_mask, is_causal, factor);
  const std::optional<Tensor> mask = given_mask.defined() ? std::optional<Tensor>(given_mask) : std::nullopt;
  if (config.attention_softcap <= 0)
    return join_heads(at::scaled_dot_product_attention(q, k, v, mask, 0.0, is_causal, factor, is_grouped));
  const int64_t shared = q.size(1) / k.size(1);
  const Tensor keys = is_grouped ? k.repeat_interleave(shared, 1) : k;
  const Tensor values = is_grouped ? v.repeat_interleave(shared, 1) : v;
  Tensor scores = at::matmul(q, keys.transpose(2, 3)) * factor;
  scores = at::tanh(scores / config.attention_softcap) * config.attention_softcap;
  if (mask.has_value() || is_causal) {
    const Tensor sees =
        mask.has_value() ? *mask : at::ones({q.size(2), keys.size(2)}, q.options().dtype(at::kBool)).tril();
    scores = scores.masked_fill(sees.logical_not(), -std::numeric_limits<float>::infinity());
  }
  return join_heads(at::matmul(at::softmax(scores, -1, at::kFloat).to(q.scalar_type()), values));
}

// The same where only pairs of one document are computed; with a mask all would be.
Tensor attend_documents(const Tensor& q, const Tensor& k, const Tensor& v, const BlockContext& context) {
  constexpr int64_t kCausal = 1;
  const auto packed = [&](const Tensor& x) {  // [B, heads, T, D] -> [1, B * T, heads, D]
    const Tensor all = x.size(1) == q.size(1) ? x : x.repeat_interleave(q.size(1) / x.size(1), 1);
    return all.transpose(1, 2).reshape({1, -1, q.size(1), q.size(3)});
  };
  const Tensor mixed = std::get<0>(at::_efficient_attention_forward(
      packed(q), packed(k), packed(v), std::nullopt, context.documents, context.documents, context.longest_document,
      context.longest_document, 0.0, kCausal, at::GradMode::is_enabled()));
  return mixed.view({q.size(0), q.size(2), q.size(1) * q.size(3)});
}

Tensor activate(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kRelu:
      return at::relu(x);
    case Activation::kSquaredRelu:
      return at::relu(x).square();
  }
  return x;
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

}  // namespace

Tensor rms_norm(const Tensor& input, const Tensor& weight, double eps, double offset) {
  if (offset == 0 && can_fuse(input) && weight.scalar_type() == input.scalar_type())
    return fused_rms_norm(input, weight, eps);
  const at::ScalarType type = input.scalar_type();
  const Tensor wide = type == at::kFloat || type == at::kDouble ? input : input.to(at::kFloat);
  const Tensor inverse = at::rsqrt(wide.square().mean(-1, true).add_(eps));
  if (offset != 0) return (wide * inverse * (weight.to(wide.scalar_type()) + offset)).to(type);
  return (wide * inverse).to(type) * weight;
}

Tensor apply_norm(const Tensor& input, const Tensor& weight, const Tensor& bias, const ModelConfig& config) {
  if (!config.is_layer_norm) return rms_norm(input, weight, config.norm_eps, config.norm_offset);
  const Tensor gain = config.norm_offset != 0 ? weight + config.norm_offset : weight;
  return at::layer_norm(input, {input.size(-1)}, gain, bias, config.norm_eps);
}

Tensor apply_rope(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  const int64_t dimensions = cos.size(-1);
  if (dimensions < x.size(-1)) {
    const Tensor rotated = apply_rope(x.narrow(-1, 0, dimensions), cos, sin);
    return at::cat({rotated, x.narrow(-1, dimensions, x.size(-1) - dimensions)}, -1);
  }
  const int64_t half = dimensions / 2;
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
  if (prepared != nullptr && can_fuse(input)) return prepared->product(input, bias);
  const auto* dense = std::get_if<DenseWeight>(&weight);
  if (dense != nullptr && bias.defined()) return at::linear(input, dense->values, bias);
  const Tensor product = weight_product(weight, input);
  return bias.defined() ? product + bias : product;
}

void Linear::set_zero() {
  weight = DenseWeight{at::zeros_like(weight_to_dense(weight, weight_type(weight)))};
  if (bias.defined()) bias = at::zeros_like(bias);
}

size_t Block::find(LinearRole role, int64_t expert) const {
  size_t place = 0;
  while (place < linears.size() && (linears[place].role != role || linears[place].expert != expert)) ++place;
  return place;
}

Tensor Block::apply(size_t place, const Tensor& input, const BlockContext& context) const {
  const Linear& linear = linears[place];
  if (context.observer != nullptr) context.observer->observe(linear, input.reshape({-1, input.size(-1)}));
  return linear.forward(input);
}

Tensor Block::attention(const Tensor& normed, const BlockContext& context) const {
  const int64_t batch = normed.size(0), tokens = normed.size(1);
  const bool is_sliding = config->is_sliding(index);
  const bool is_local = is_sliding && context.local_cos.defined();
  const Tensor &cos = is_local ? context.local_cos : context.cos, &sin = is_local ? context.local_sin : context.sin;
  const auto heads_of = [&](size_t role, int64_t heads, const Tensor& norm) {
    Tensor x = apply(role, normed, context);
    if (norm.defined()) {
      const ModelConfig& c = *config;
      x = rms_norm(x.view({batch, tokens, heads, c.head_dim}), norm, c.norm_eps, c.norm_offset).view(x.sizes());
    }
    return split_heads(x, heads, config->head_dim);
  };
  const Tensor q = rotate(heads_of(kQuery, config->heads, query_norm), cos, sin);
  Tensor k = rotate(heads_of(kKey, config->kv_heads, key_norm), cos, sin);
  Tensor v = heads_of(kValue, config->kv_heads, {});
  if (context.cache != nullptr) {
    KvCache& cache = *context.cache;
    Tensor& keys = cache.keys[static_cast<size_t>(context.index)];
    Tensor& values = cache.values[static_cast<size_t>(context.index)];
    keys.narrow(2, cache.length, tokens).copy_(k);
    values.narrow(2, cache.length, tokens).copy_(v);
    k = keys.narrow(2, 0, cache.length + tokens);
    v = values.narrow(2, 0, cache.length + tokens);
  }
  const Tensor& mask = is_sliding && context.window_mask.defined() ? context.window_mask : context.mask;
  const Tensor mixed =
      context.documents.defined() ? attend_documents(q, k, v, context) : attend(q, k, v, mask, *config);
  return apply(kOutput, mixed, context);
}

Tensor Block::mlp(const Tensor& normed, const BlockContext& context) const {
  return is_mixture() ? mixture(normed, context) : mlp_at(kGate, normed, context);
}

Tensor Block::mlp_at(size_t first, const Tensor& normed, const BlockContext& context) const {
  Tensor inner = apply(first, normed, context);
  if (!config->is_gated) return apply(first + 1, activate(inner, config->activation), context);
  if (config->activation == Activation::kSilu && can_fuse(inner)) {
    fused_silu_multiply(inner, apply(first + 1, normed, context));
  } else {
    inner = activate(inner, config->activation) * apply(first + 1, normed, context);
  }
  return apply(first + 2, inner, context);
}

Tensor Block::mixture(const Tensor& normed, const BlockContext& context) const {
  const Tensor tokens = normed.reshape({-1, normed.size(-1)});
  const Tensor scores = at::softmax(at::linear(tokens, router), -1, at::kFloat);
  const auto [top, chosen] = scores.topk(config->experts_per_token, -1);
  const Tensor shares = config->is_routing_normalized ? top / top.sum(-1, true) : top;
  const bool is_observed = context.observer != nullptr;
  const size_t step = config->is_gated ? 3 : 2;
  size_t first = kGate;
  Tensor output = at::zeros_like(tokens);
  for (int64_t expert = 0; expert < config->experts; ++expert, first += step) {
    const Tensor is_chosen = chosen == expert;  // [tokens, experts per token]
    const Tensor rows = is_chosen.any(-1).nonzero().squeeze(1);
    if (rows.size(0) == 0 && !is_observed) continue;
    Tensor result = mlp_at(first, is_observed ? tokens : tokens.index_select(0, rows), context);
    if (is_observed) result = result.index_select(0, rows);
    const Tensor share = (shares * is_chosen).sum(-1, true).index_select(0, rows);
    output = output.index_add(0, rows, result * share.to(result.scalar_type()));
  }
  if (shared_gate.defined())
    output = output + at::sigmoid(at::linear(tokens, shared_gate)) * mlp_at(first, tokens, context);
  return output.view(normed.sizes());
}

bool Block::has_halves() const {
  return !config->is_norm_first || !config->is_parallel;
}

Tensor Block::forward(const Tensor& hidden, const BlockContext& context) const {
  if (has_halves()) return second_half(first_half(hidden, context), context);
  const ModelConfig& c = *config;
  const Tensor update = attention(apply_norm(hidden, input_norm, input_norm_bias, c), context);
  return hidden + (update + mlp(apply_norm(hidden, post_attention_norm, post_attention_norm_bias, c), context));
}

Tensor Block::first_half(const Tensor& hidden, const BlockContext& context) const {
  const ModelConfig& c = *config;
  if (!c.is_norm_first) return apply_norm(hidden + attention(hidden, context), input_norm, input_norm_bias, c);
  Tensor update = attention(apply_norm(hidden, input_norm, input_norm_bias, c), context);
  if (c.has_output_norms) update = apply_norm(update, attention_output_norm, {}, c);
  return hidden + update;
}

Tensor Block::second_half(const Tensor& middle, const BlockContext& context) const {
  const ModelConfig& c = *config;
  if (!c.is_norm_first)
    return apply_norm(middle + mlp(middle, context), post_attention_norm, post_attention_norm_bias, c);
  Tensor update = mlp(apply_norm(middle, post_attention_norm, post_attention_norm_bias, c), context);
  if (c.has_output_norms) update = apply_norm(update, mlp_output_norm, {}, c);
  return middle + update;
}

std::vector<Tensor*> Block::tensors() {
  std::vector<Tensor*> result;
  for (Tensor* tensor : {&input_norm, &input_norm_bias, &post_attention_norm, &post_attention_norm_bias,
                         &attention_output_norm, &mlp_output_norm, &query_norm, &key_norm, &router, &shared_gate}) {
    if (tensor->defined()) result.push_back(tensor);
  }
  return result;
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
  const auto norm_weight = [&](int64_t size) { return at::full({size}, 1 - config.norm_offset, options); };
  // Matrices are drawn in this order: embedding, head, the rest of the frame, then block by block the linears before
  // the others.
  std::vector<FrameTensor> frame = frame_tensors(config);
  std::stable_partition(frame.begin(), frame.end(), [](const FrameTensor& tensor) {
    return tensor.member == &Decoder::embedding || tensor.member == &Decoder::head;
  });
  for (const FrameTensor& tensor : frame) {
    if (tensor.shape.size() == 2) {
      (*decoder).*tensor.member = normal(tensor.shape[0], tensor.shape[1], std_dev);
    } else {
      (*decoder).*tensor.member =
          tensor.member == &Decoder::final_norm_bias ? at::zeros(tensor.shape, options) : norm_weight(tensor.shape[0]);
    }
  }
  for (int64_t index = 0; index < config.blocks; ++index) {
    Block block;
    block.config = &decoder->config;
    block.index = index;
    for (const LinearSpec& spec : block_linears(config, index)) {
      Linear linear;
      linear.name = block_prefix(*family, index) + spec.name;
      linear.role = spec.role;
      linear.expert = spec.expert;
      const bool is_last = spec.role == kOutput || spec.role == kDown;
      linear.weight = DenseWeight{normal(spec.rows, spec.columns, is_last ? scaled : std_dev)};
      if (spec.has_bias) linear.bias = at::zeros({spec.rows}, options);
      block.linears.push_back(std::move(linear));
    }
    for (const BlockTensor& tensor : block_tensors(config, index)) {
      if (tensor.shape.size() == 2) {
        block.*tensor.member = normal(tensor.shape[0], tensor.shape[1], std_dev);
      } else {
        block.*tensor.member =
            tensor.name.ends_with(".bias") ? at::zeros(tensor.shape, options) : norm_weight(tensor.shape[0]);
      }
    }
    decoder->blocks.push_back(std::move(block));
  }
  return decoder;
}

Tensor Decoder::embed(const Tensor& ids, const Tensor& positions) const {
  Tensor hidden = at::embedding(embedding, ids);
  if (project_in.defined()) hidden = at::linear(hidden, project_in);
  // The factor is rounded to the model's type first, as the reference does.
  if (config.embedding_scale != 1) hidden = hidden * at::scalar_tensor(config.embedding_scale, embedding.options());
  if (!position_embedding.defined()) return hidden;
  const Tensor rows =
      (positions.defined() ? positions : at::arange(ids.size(1), ids.options())) + config.position_offset;
  if (const int64_t last = rows.max().item<int64_t>(); last >= position_embedding.size(0)) {
    throw_input("a sequence reaches position {}, the model has {} learned positions; shorten it",
                last - config.position_offset, config.context_length);
  }
  return hidden + at::embedding(position_embedding, rows);
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

  if (absent.defined()) {
    // Positions count a row's own tokens; padded places get position 0 and are never attended to.
    place(context, absent.logical_not().cumsum(1).sub_(1).clamp_min_(0).narrow(1, start, tokens), length);
  } else if (!config.has_rope || config.rope.depends_on_length()) {
    place(context, at::arange(start, length, at::TensorOptions().dtype(at::kLong).device(device())), length);
  } else {
    extend(rope_, config.rope, length);
    context.cos = rope_.cos.narrow(0, start, tokens);
    context.sin = rope_.sin.narrow(0, start, tokens);
    if (config.has_local_rope) {
      extend(local_rope_, config.local_rope, length);
      context.local_cos = local_rope_.cos.narrow(0, start, tokens);
      context.local_sin = local_rope_.sin.narrow(0, start, tokens);
    }
  }
  const bool needs_mask = absent.defined() || (tokens > 1 && start > 0);
  const bool has_window = config.window > 0 && length > config.window && !config.sliding.empty();
  if (!needs_mask && !has_window) return context;

  const at::TensorOptions indices = at::TensorOptions().dtype(at::kLong).device(device());
  const Tensor query = at::arange(start, length, indices).unsqueeze(1), key = at::arange(length, indices).unsqueeze(0);
  Tensor mask = (key <= query).unsqueeze(0);  // [1, T, S]
  if (absent.defined()) {
    // A padded query still sees itself: a row without any key would give NaN.
    mask = mask.logical_and(absent.logical_not().unsqueeze(1)).logical_or_((key == query).unsqueeze(0));
  }
  if (needs_mask) context.mask = mask.unsqueeze(1);
  if (has_window) context.window_mask = mask.logical_and(key > query - config.window).unsqueeze(1);
  return context;
}

void Decoder::place(BlockContext& context, const Tensor& positions, int64_t length) const {
  if (!config.has_rope) {
    context.positions = positions;
    return;
  }
  const auto at_positions = [&](RopeTable& table, const RopeConfig& rope) {
    if (rope.depends_on_length()) return rope_table(rope, positions, length);
    extend(table, rope, length);
    return RopeTable{at::embedding(table.cos, positions), at::embedding(table.sin, positions)};
  };
  const RopeTable table = at_positions(rope_, config.rope);
  context.cos = table.cos;
  context.sin = table.sin;
  if (!config.has_local_rope) return;
  const RopeTable local = at_positions(local_rope_, config.local_rope);
  context.local_cos = local.cos;
  context.local_sin = local.sin;
}

Decoder::RopeTable Decoder::rope_table(const RopeConfig& rope, const Tensor& positions, int64_t length) const {
  const at::NoGradGuard no_grad;
  // The reference multiplies float32 positions by float32 frequencies.
  const Tensor inverse = at::tensor(rope_frequencies(rope, config.head_dim, length), at::kDouble).to(at::kFloat);
  const Tensor half = positions.to(at::kCPU, at::kFloat).unsqueeze(-1) * inverse;
  const Tensor angles = at::cat({half, half}, -1);
  Tensor cos = angles.cos(), sin = angles.sin();
  if (rope.attention_factor != 1) {
    cos.mul_(rope.attention_factor);
    sin.mul_(rope.attention_factor);
  }
  return {cos.to(device(), dtype()), sin.to(device(), dtype())};
}

void Decoder::extend(RopeTable& table, const RopeConfig& rope, int64_t length) const {
  if (table.cos.defined() && table.cos.size(0) >= length && table.cos.scalar_type() == dtype() &&
      table.cos.device() == device()) {
    return;
  }
  const int64_t rows = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(length, 64))));
  table = rope_table(rope, at::arange(rows, at::kFloat), rows);
}

Tensor Decoder::forward(const Tensor& ids, KvCache* cache, const Tensor& padding) const {
  BlockContext context = make_context(ids.size(0), ids.size(1), cache, padding);
  Tensor hidden = embed(ids, context.positions);
  for (size_t i = 0; i < blocks.size(); ++i) {
    context.index = static_cast<int64_t>(i);
    hidden = blocks[i].forward(hidden, context);
  }
  if (cache != nullptr) cache->length += ids.size(1);
  return finish(hidden);
}

Tensor Decoder::finish(const Tensor& hidden) const {
  return final_norm.defined() ? apply_norm(hidden, final_norm, final_norm_bias, config) : hidden;
}

Tensor Decoder::logits(const Tensor& hidden) const {
  const Tensor last = project_out.defined() ? at::linear(hidden, project_out) : hidden;
  Tensor result = prepared_head_ != nullptr && can_fuse(last) ? prepared_head_->product(last, {})
                                                              : at::linear(last, head.defined() ? head : embedding);
  if (config.logit_softcap <= 0) return result;
  return at::tanh(result / config.logit_softcap) * config.logit_softcap;
}

std::vector<std::pair<std::string, Tensor>> Decoder::parameters() const {
  const Family& family = *find_family(config.family);
  std::vector<std::pair<std::string, Tensor>> result;
  const std::vector<FrameTensor> frame = frame_tensors(config);
  const auto add_frame = [&](const FrameTensor& tensor) {
    if ((this->*tensor.member).defined()) result.emplace_back(tensor.name, this->*tensor.member);
  };
  add_frame(frame.front());  // the embedding
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& block = blocks[i];
    const std::string prefix = block_prefix(family, static_cast<int64_t>(i));
    for (const BlockTensor& tensor : block_tensors(config, static_cast<int64_t>(i)))
      result.emplace_back(prefix + tensor.name, block.*tensor.member);
    for (const Linear& linear : block.linears) {
      if (const auto* dense = std::get_if<DenseWeight>(&linear.weight))
        result.emplace_back(linear.name + ".weight", dense->values);
      if (linear.bias.defined()) result.emplace_back(linear.name + ".bias", linear.bias);
    }
  }
  for (size_t i = 1; i < frame.size(); ++i) add_frame(frame[i]);
  return result;
}

void Block::to(at::ScalarType dtype, const at::Device& device) {
  for (Tensor* tensor : tensors()) *tensor = tensor->to(device, dtype);
  for (Linear& linear : linears) {
    linear.weight = weight_to(linear.weight, dtype, device);
    if (linear.bias.defined()) linear.bias = linear.bias.to(device, dtype);
  }
}

std::vector<Tensor*> Decoder::tensors() {
  std::vector<Tensor*> result;
  for (Tensor* tensor :
       {&embedding, &final_norm, &final_norm_bias, &head, &position_embedding, &project_in, &project_out}) {
    if (tensor->defined()) result.push_back(tensor);
  }
  return result;
}

void Decoder::to(at::ScalarType dtype, const at::Device& device) {
  for (Tensor* tensor : tensors()) *tensor = tensor->to(device, dtype);
  for (Block& block : blocks) block.to(dtype, device);
}

void Decoder::make_dense() {
  for (Block& block : blocks) {
    for (Linear& linear : block.linears) linear.weight = weight_unpacked(linear.weight, dtype());
  }
}

void Decoder::make_panels() {
  const auto panels_of = [](const Tensor& weight) -> std::shared_ptr<const PreparedMatrix> {
    return suits_panels(weight) ? std::make_shared<const PanelMatrix>(ockham::make_panels(weight)) : nullptr;
  };
  for (Block& block : blocks) {
    for (Linear& linear : block.linears)
      if (const auto* dense = std::get_if<DenseWeight>(&linear.weight)) linear.prepared = panels_of(dense->values);
  }
  prepared_head_ = panels_of(head.defined() ? head : embedding);
}

at::ScalarType Decoder::dtype() const {
  return embedding.scalar_type();
}
at::Device Decoder::device() const {
  return embedding.device();
}

}  // namespace ockham
