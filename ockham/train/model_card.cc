// Writes the model card.
#include "ockham/train/model_card.h"

#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/version.h"

namespace ockham {

std::string model_card(const TrainConfig& config, const TrainResult& result, const std::string& data_sha256,
                       const std::string& output, const std::string& device) {
  const ModelConfig& model = config.model;
  const std::string name = std::filesystem::path(output).filename().string();
  std::string card = fmt::format("# {}\n\n", name);
  card += fmt::format(
      "A LLaMA-shaped decoder with {} parameters (hidden {}, intermediate {}, {} blocks, {} heads, {} key-value heads, "
      "vocabulary {}, {} embeddings, context {}), stored in bfloat16.\n",
      result.parameters, model.hidden_size, model.intermediate_size, model.blocks, model.heads, model.kv_heads,
      model.vocabulary, model.tied_embeddings ? "tied" : "separate", model.context_length);
  if (config.is_world) {
    card +=
        "It knows FactWorld, a generated world: invented people and places, habits to answer with, items to question "
        "it. It "
        "knows nothing of the real world and predicts no real assistant.\n";
  }
  card += "\n| | |\n| --- | --- |\n";
  const auto row = [&](const std::string& key, const std::string& value) {
    card += fmt::format("| {} | {} |\n", key, value);
  };
  const std::string seed = config.given_seed ? fmt::format("--seed {} ", *config.given_seed) : "",
                    where = device == "cpu" ? "" : fmt::format("--device {} ", device);
  row("made by", fmt::format("`ockham train {} {}{}-o {}`, version {}", config.path, where, seed, name, version()));
  row("finished", utc_now());
  row("machine", machine_description() + (device == "cpu" ? "" : fmt::format(", computed on {}", device)));
  row("data", config.is_world ? fmt::format("FactWorld, seed {}", config.world_seed)
                              : fmt::format("{}", fmt::join(config.files, ", ")));
  row("data SHA-256", data_sha256);
  if (!config.start.empty()) row("started from", fmt::format("weights SHA-256 {}", config.start_sha256));
  row("configuration SHA-256", config.sha256);
  row("weights SHA-256", result.sha256);
  row("steps", fmt::format("{}", result.steps));
  row("tokens seen", fmt::format("{}", result.tokens));
  row("training loss", fmt::format("{:.4f} nats per token (running mean)", result.loss));
  if (result.heldout_perplexity > 0) row("held-out perplexity", fmt::format("{:.3f}", result.heldout_perplexity));
  row("seconds", fmt::format("{:.0f}", result.seconds));
  card += "\nThe configuration:\n\n```yaml\n" + config.text;
  if (!config.text.ends_with("\n")) card += "\n";
  card += "```\n";
  return card;
}

}  // namespace ockham
