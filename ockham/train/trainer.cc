// The training loop: batches, gradients, AdamW, log, held-out perplexity, checkpoints.
#include "ockham/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/version.h"
#include "ockham/io/file.h"
#include "ockham/io/file_lock.h"
#include "ockham/io/json.h"
#include "ockham/model/checkpoint.h"
#include "ockham/tensor/device.h"
#include "ockham/tensor/ops.h"
#include "ockham/train/data.h"
#include "ockham/train/kernels.h"
#include "ockham/train/model_card.h"
#include "ockham/train/muon.h"
#include "ockham/train/state.h"
#include "ockham/train/vocabulary.h"

namespace fs = std::filesystem;

namespace ockham {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostBatches = 8;  // of held-out text: enough to follow the run

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::unique_ptr<TrainEngine> make_engine(TrainConfig config, const std::string& device) {
  const bool is_cpu = device == "cpu";
  if (is_cpu && config.precision == DType::kBF16 && !has_fast_bf16()) {
    log_info("multiplying in float32: this processor has no bf16 products");
    config.precision = DType::kF32;
  }
  if (config.engine == "autograd" || !is_cpu)
    return make_autograd_engine(config.model, config.precision, open_device(device));
  if (config.engine == "fused") return make_fused_engine(config.model, config.row_tokens, config.precision);
  try {
    return make_fused_engine(config.model, config.row_tokens, config.precision);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kUnsupported) throw;
    log_info(fmt::format("training through autograd: {}", error.what()));
    return make_autograd_engine(config.model, config.precision, at::kCPU);
  }
}

class Trainer {
 public:
  Trainer(const TrainConfig& config, const std::string& output, const TrainOptions& options)
      : config_(config),
        options_(options),
        output_(output),
        work_(output + ".training"),
        layout_(ParameterLayout::of(config.model)),
        gradients_(static_cast<size_t>(layout_.elements)) {
    if (config.is_world) world_ = std::make_shared<const World>(config.world_seed);
    source_ = make_document_source(config, world_);
    data_sha256_ = config.is_world ? world_->sha256() : files_sha256();
    if (!config.start.empty()) config_.start_sha256 = Checkpoint(config.start).sha256();
  }

  TrainResult run() {
    prepare();
    const Clock::time_point start = Clock::now();
    const double before = state_.seconds;
    double logged = 0, evaluated = 0, saved = 0;
    int64_t logged_tokens = state_.tokens;
    const int64_t first_step = state_.step;
    const int64_t tokens_before = state_.tokens;
    while (progress() < 1) {
      const double norm = step();
      const double now = seconds_since(start);
      state_.seconds = before + now;
      if (now - logged >= config_.log_seconds) {
        log(norm, static_cast<double>(state_.tokens - logged_tokens) / (now - logged));
        logged = now;
        logged_tokens = state_.tokens;
      }
      if (now - evaluated >= config_.evaluate_seconds) {
        evaluate();
        write_model(work_ + "/preview", true);
        evaluated = seconds_since(start);
      }
      const bool is_stopped = interrupt_requested() ||
                              (options_.stop_after_steps > 0 && state_.step - first_step >= options_.stop_after_steps);
      if (now - saved >= config_.checkpoint_seconds || is_stopped) {
        state_.seconds = before + seconds_since(start);
        save_state(state_, layout_, work_ + "/state.safetensors");
        saved = now;
      }
      if (is_stopped) {
        throw_error(ErrorKind::kInterrupted, "training stopped after step {}; the same command goes on from there",
                    state_.step);
      }
    }
    state_.seconds = before + seconds_since(start);
    save_state(state_, layout_, work_ + "/state.safetensors");
    TrainResult result;
    result.heldout_perplexity = evaluate();
    result.steps = state_.step;
    result.tokens = state_.tokens;
    result.parameters = layout_.elements;
    result.seconds = state_.seconds;
    result.tokens_per_s = static_cast<double>(state_.tokens - tokens_before) / std::max(1e-9, state_.seconds - before);
    result.loss = state_.loss;
    result.sha256 = write_model(output_, options_.overwrite);
    write_file_atomically(output_ + "/README.md", model_card(config_, result, data_sha256_, output_, options_.device));
    std::error_code ignored;
    fs::remove_all(work_, ignored);
    return result;
  }

 private:
  std::string files_sha256() const {
    std::string all;
    for (const std::string& file : config_.files) all += sha256_file(file) + "\n";
    return sha256_text(all);
  }

  // Of the texts, and of the model that the run goes on from.
  std::string inputs_sha256() const {
    return config_.start.empty() ? data_sha256_ : sha256_text(data_sha256_ + config_.start_sha256);
  }

  void refuse_existing_output() const {
    if (fs::exists(output_) && !options_.overwrite)
      throw_input("{}: exists already; choose another directory or give --overwrite", output_);
  }

  void prepare() {
    refuse_existing_output();
    std::error_code failure;
    fs::create_directories(work_, failure);
    if (failure) throw_error(ErrorKind::kResource, "{}: cannot be created: {}", work_, failure.message());
    lock_ = std::make_unique<FileLock>(work_ + "/lock", ErrorKind::kResource,
                                       "another process is training this model; wait for it, or choose another -o");
    refuse_existing_output();  // another process may just have finished it
    const std::string state_path = work_ + "/state.safetensors";
    if (options_.restart) {
      for (const fs::directory_entry& entry : fs::directory_iterator(work_))
        if (entry.path().filename() != "lock") fs::remove_all(entry.path());
    }
    if (fs::exists(state_path)) {
      state_ = load_state(layout_, state_path);
      if (state_.config_sha256 != config_.sha256 || state_.data_sha256 != inputs_sha256()) {
        throw_input("{}: belongs to another {}; remove {} or give --restart", state_path,
                    state_.config_sha256 != config_.sha256 ? "configuration" : "set of training texts", work_);
      }
      log_info(fmt::format("resuming at step {} ({} tokens, {:.0f} s)", state_.step, state_.tokens, state_.seconds));
    } else {
      if (config_.start.empty()) {
        initialize(layout_, config_.model.blocks, config_.seed, state_);
      } else {
        start_from(config_.start, layout_, config_.model, work_, state_);
      }
      state_.config_sha256 = config_.sha256;
      state_.data_sha256 = inputs_sha256();
      if (config_.start.empty()) {
        log_info("training the tokenizer");
        write_vocabulary(source_(0), config_.model.vocabulary, config_.model.context_length, work_);
      }
      save_state(state_, layout_, state_path);
    }
    tokenizer_ = std::make_unique<Tokenizer>(work_);
    if (tokenizer_->vocabulary_size() > config_.model.vocabulary) {
      throw_input("{}: holds {} tokens, more than the model's vocabulary of {}", work_, tokenizer_->vocabulary_size(),
                  config_.model.vocabulary);
    }
    engine_ = make_engine(config_, options_.device);
    engine_->load_weights(state_.values.data());
    stream_ = std::make_unique<BatchStream>(source_, *tokenizer_, config_, options_.device != "cpu");
    stream_->seek(state_.position);
    prepare_heldout();
    log_info(fmt::format("{} parameters, {} tokens a step", layout_.elements, config_.batch_tokens));
  }

  void prepare_heldout() {
    std::vector<Document> documents;
    if (!config_.heldout.empty()) {
      documents = read_documents(config_.heldout).documents;
    } else if (world_) {
      documents = world_->documents("heldout");
    }
    const std::vector<TokenizedDocument> tokenized = tokenize_documents(
        documents, *tokenizer_, std::min<int64_t>({config_.row_tokens, config_.model.context_length, 512}), 1);
    for (const std::vector<size_t>& chosen : pack_documents(tokenized, config_.row_tokens)) {
      if (heldout_.size() < kMostBatches) heldout_.push_back(make_batch(tokenized, chosen, config_.row_tokens));
    }
  }

  double progress() const {
    if (config_.tokens > 0) return static_cast<double>(state_.tokens) / static_cast<double>(config_.tokens);
    return state_.seconds / (60 * config_.minutes);
  }

  // One optimizer step; returns the norm of the gradient before clipping.
  double step() {
    std::vector<PackedBatch> batches;
    double weight = 0;
    for (int64_t rows = 0; rows < config_.batch_tokens; rows += config_.row_tokens) {
      batches.push_back(stream_->next());
      weight += batches.back().target_weight;
      state_.tokens += batches.back().tokens;
    }
    std::fill(gradients_.begin(), gradients_.end(), 0.0f);
    const double scale = weight > 0 ? 1 / weight : 0;
    const double loss = scale * engine_->add_gradients(batches, static_cast<float>(scale), gradients_.data());
    const double norm = std::sqrt(sum_of_squares(gradients_.data(), layout_.elements));
    if (!std::isfinite(loss) || !std::isfinite(norm)) {
      throw_error(ErrorKind::kInput, "{}: the loss became {} at step {}; lower `optimizer: {{rate: ...}}` (now {})",
                  config_.path, loss, state_.step, config_.rate);
    }
    AdamStep adam;
    adam.rate = static_cast<float>(learning_rate(config_, state_.step, progress()));
    adam.beta1 = static_cast<float>(config_.beta1);
    adam.beta2 = static_cast<float>(config_.beta2);
    adam.epsilon = static_cast<float>(config_.epsilon);
    ++state_.step;
    adam.correction1 = static_cast<float>(1 / (1 - std::pow(config_.beta1, static_cast<double>(state_.step))));
    adam.correction2 = static_cast<float>(1 / (1 - std::pow(config_.beta2, static_cast<double>(state_.step))));
    adam.gradient_scale = static_cast<float>(std::min(1.0, config_.clip / std::max(norm, 1e-12)));
    const bool has_muon = config_.optimizer == "muon";
    if (has_muon) {
      const MuonStep muon{adam.rate, static_cast<float>(config_.momentum), static_cast<float>(config_.weight_decay),
                          adam.gradient_scale, open_device(options_.device)};
      muon_step(layout_, state_.values.data(), state_.first.data(), gradients_.data(), muon);
    }
    for (const ParameterSpan& span : layout_.spans) {
      if (has_muon && is_muon_matrix(span)) continue;
      adam.decay = span.columns > 0 ? static_cast<float>(config_.weight_decay) : 0.0f;
      adam_step(state_.values.data() + span.offset, state_.first.data() + span.offset,
                state_.second.data() + span.offset, gradients_.data() + span.offset, span.elements(), adam);
    }
    engine_->load_weights(state_.values.data());
    state_.position = stream_->position();
    state_.loss = state_.step == 1 ? loss : 0.98 * state_.loss + 0.02 * loss;
    last_rate_ = adam.rate;
    return norm;
  }

  void append_log(const Json& line) const {
    std::ofstream file(work_ + "/log.jsonl", std::ios::app);
    file << line.dump() << "\n";
  }

  void log(double norm, double tokens_per_s) const {
    log_info(fmt::format(
        "step {}  {:.2f} M tokens (pass {})  loss {:.4f}  rate {:.2e}  norm {:.2f}  {:.0f} tokens/s  {:.1f} %",
        state_.step, static_cast<double>(state_.tokens) * 1e-6, state_.position.pass, state_.loss, last_rate_, norm,
        tokens_per_s, 100 * progress()));
    report_progress({"train " + fs::path(output_).filename().string(),
                     static_cast<int64_t>(1000 * std::min(1.0, progress())), 1000, "thousandths"});
    append_log({{"step", state_.step},
                {"tokens", state_.tokens},
                {"seconds", state_.seconds},
                {"loss", state_.loss},
                {"rate", last_rate_},
                {"norm", norm},
                {"tokens_per_s", tokens_per_s}});
  }

  // Perplexity of the held-out text, 0 without one.
  double evaluate() const {
    double loss = 0, weight = 0;
    for (const PackedBatch& batch : heldout_) {
      loss += engine_->loss(batch);
      weight += batch.target_weight;
    }
    if (weight == 0) return 0;
    const double perplexity = std::exp(loss / weight);
    log_info(fmt::format("step {}  held-out perplexity {:.3f}", state_.step, perplexity));
    append_log({{"step", state_.step}, {"tokens", state_.tokens}, {"heldout_perplexity", perplexity}});
    return perplexity;
  }

  // Returns the hash of the weights.
  std::string write_model(const std::string& directory, bool overwrite) const {
    OutputDirectory out(directory, overwrite);
    const std::unique_ptr<Decoder> decoder = Decoder::random(config_.model, 0, DType::kF32);
    copy_weights(layout_, state_.values.data(), *decoder);
    save_decoder(*decoder, out.path(), DType::kBF16, work_);
    std::string sha256 = Checkpoint(out.path()).sha256();
    out.commit();
    return sha256;
  }

  TrainConfig config_;
  const TrainOptions& options_;
  std::string output_, work_;
  std::unique_ptr<FileLock> lock_;
  ParameterLayout layout_;
  std::vector<float> gradients_;
  std::shared_ptr<const World> world_;
  DocumentSource source_;
  std::string data_sha256_;
  TrainState state_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<TrainEngine> engine_;
  std::unique_ptr<BatchStream> stream_;
  std::vector<PackedBatch> heldout_;
  float last_rate_ = 0;
};

}  // namespace

TrainResult train(const TrainConfig& config, const std::string& output, const TrainOptions& options) {
  return Trainer(config, output, options).run();
}

}  // namespace ockham
