// drop: removes whole blocks, or the attention or MLP of blocks.
// Paper: Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect" (2024): a block's
// influence is 1 - cos(input, output), averaged over tokens; the blocks with the least go. For halves of a block, the
// output with and without the half are compared, as in Sieberling et al., "EvoPress" (2024). A removed block is gone
// from the model, the ones behind it are renumbered; a removed half has zero weights, which take one bit each in the
// container and load anywhere. Needs: two more forwards per block for halves. Left out: measuring again after each
// removal.
#include <algorithm>
#include <charconv>
#include <numeric>
#include <set>

#include "ockham/core/error.h"
#include "ockham/methods/method.h"
#include "ockham/model/families.h"

namespace ockham {
namespace {

class Drop final : public Allocation {
 public:
  explicit Drop(const Params& params)
      : where_(params.where()), unit_(params.text("unit")), count_(params.integer("count")) {
    read_list(params.text("which"));
  }

  unsigned needs() const override { return which_.empty() ? kNeedsChange : kNeedsNothing; }
  bool drops() const override { return true; }

  void notice(const Block& block, const BlockChange& change) override {
    linears_ = block.linears.size();
    changes_.push_back(unit_ == "block" ? change.whole : unit_ == "attention" ? change.attention : change.mlp);
  }

  void look(const std::vector<const Linear*>& linears, const std::vector<LayerStats>&) override {
    names_.emplace_back();
    // Nothing of a block whose linears are not all targets goes.
    if (linears.size() != linears_) return;
    for (const Linear* linear : linears)
      if (unit_ == "block" || (unit_ == "attention") == (linear->role < kGate)) names_.back().push_back(linear->name);
  }

  std::map<std::string, double> values() const override {
    std::set<size_t> gone(which_.begin(), which_.end());
    if (!gone.empty() && *gone.rbegin() >= names_.size())
      throw_input("{}: key 'which' names block {}, expected 0 to {}; correct it", where_, *gone.rbegin(),
                  names_.size() - 1);
    std::vector<size_t> order;
    for (size_t block = 0; block < names_.size(); ++block)
      if (!names_[block].empty()) order.push_back(block);
    const size_t count = which_.empty() ? static_cast<size_t>(count_) : gone.size();
    if (count >= names_.size() || count > order.size())
      throw_input("{}: {} blocks are to go, expected fewer than the {} there are; correct it", where_, count,
                  std::min(names_.size(), order.size() + 1));
    if (which_.empty()) {
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return changes_[a] < changes_[b]; });
      gone.insert(order.begin(), order.begin() + count_);
    }
    std::map<std::string, double> values;
    for (size_t block = 0; block < names_.size(); ++block)
      for (const std::string& name : names_[block]) values[name] = gone.contains(block) ? 1 : 0;
    return values;
  }

 private:
  void read_list(const std::string& text) {
    const char *at = text.data(), *end = at + text.size();
    while (at < end) {
      size_t block = 0;
      const auto parsed = std::from_chars(at, end, block);
      at = parsed.ptr;
      const bool is_more = at < end && *at == ',';
      if (parsed.ec != std::errc() || block > 65535 || (at < end && !is_more) || (is_more && at + 1 == end))
        throw_input(
            "{}: key 'which' is '{}', expected numbers of blocks with commas between, as in \"3,5\"; correct it",
            where_, text);
      which_.push_back(block);
      if (is_more) ++at;
      while (at < end && *at == ' ') ++at;
    }
  }

  std::string where_, unit_;
  int64_t count_;
  std::vector<size_t> which_;
  size_t linears_ = 0;                           // of the block at hand
  std::vector<double> changes_;                  // by block
  std::vector<std::vector<std::string>> names_;  // by block: the linears of its unit
};

}  // namespace

const MethodEntry& drop_entry() {
  static const MethodEntry kEntry = {
      "drop",
      "pruning",
      "Removes the blocks, attentions or MLPs that change the hidden states least.",
      "Men et al., ShortGPT: Layers in Large Language Models are More Redundant Than You Expect, 2024",
      {text_spec("unit", "what goes: whole blocks, or their attention or MLP", "block", {"block", "attention", "mlp"}),
       int_spec("count", "how many go", 1, 0, 65536),
       text_spec("which", "numbers of the blocks, from 0, as in \"3,5\"; empty: those that change least", "")},
      {},
      [](const Params& params) { return std::make_unique<Drop>(params); }};
  return kEntry;
}

}  // namespace ockham
