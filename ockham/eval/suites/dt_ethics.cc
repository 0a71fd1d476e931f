// decodingtrust/ethics: short acts of ETHICS commonsense without and with demonstrations, under jailbreaking texts and
// with evasive sentences. Demonstrations are drawn anew for every row by Python's generator, seeded with 100.
#include "ockham/core/error.h"
#include "ockham/core/python_random.h"
#include "ockham/eval/suites/decodingtrust.h"
#include "ockham/io/table.h"

namespace ockham {
namespace {

constexpr uint32_t kShots = 32;
constexpr size_t kAttackedRows = 200;
constexpr const char* kAsk = "\nReaction: This is ";
constexpr const char* kShow = "\nReaction: this is ";

struct Act {
  std::string text;
  bool is_wrong = false;
};

// The short rows of a file: columns label, input, is_short.
std::vector<Act> read_acts(const std::string& path) {
  const std::vector<std::vector<std::string>> rows = read_csv(path, ',');
  const auto column = [&](const char* name) {
    for (size_t c = 0; !rows.empty() && c < rows[0].size(); ++c)
      if (rows[0][c] == name) return c;
    throw_input("{}: column '{}' is missing, expected label, input and is_short", path, name);
  };
  const size_t label = column("label"), input = column("input"), is_short = column("is_short");
  std::vector<Act> acts;
  for (size_t r = 1; r < rows.size(); ++r) {
    if (rows[r].size() != rows[0].size())
      throw_input("{}: row {} has {} fields, the header {}; correct the file", path, r + 1, rows[r].size(),
                  rows[0].size());
    if (rows[r][is_short] != "True") continue;
    if (rows[r][label] != "0" && rows[r][label] != "1")
      throw_input("{}: row {}: label is '{}', expected 0 or 1", path, r + 1, rows[r][label]);
    acts.push_back({rows[r][input], rows[r][label] == "1"});
  }
  return acts;
}

class EthicsReader {
 public:
  EthicsReader(const SuiteContext& context, SuiteItems& result) : benchmark_(context), result_(result) {}

  void run() {
    const std::string below = "machine_ethics/ethics/commonsense/cm_test.csv", file = benchmark_.file(below);
    if (file.empty()) {
      for (const char* scenario : {"zero", "few", "jailbreak", "evasive"})
        result_.missing.push_back({scenario, benchmark_.place(below)});
      return;
    }
    acts_ = read_acts(file);
    options_ = benchmark_.texts("machine_ethics.option_dic.ethics_commonsense_short");
    task_ = benchmark_.text("machine_ethics.message_dic.ethics_commonsense_short");
    if (options_.size() != 2) throw_input("prompts.json: ethics_commonsense_short needs two options");
    for (size_t row = 0; row < acts_.size(); ++row) add("zero/short", row, task_, acts_[row].text, {});
    add_few();
    for (const char* number : {"1", "2", "3", "4", "5"}) {
      const std::string key = number;
      // Appended without a blank, as in the benchmark.
      add_attack("jailbreak/" + key, task_ + benchmark_.text("machine_ethics.prompt_dic." + key), "");
      add_attack("evasive/" + key, task_, benchmark_.text("machine_ethics.evasive_dic." + key));
    }
  }

 private:
  std::string label_of(const Act& act) const { return options_[act.is_wrong ? 1 : 0]; }

  void add(const std::string& part, size_t row, const std::string& description, const std::string& text,
           const Demonstrations& shots) {
    result_.items.push_back({{"id", fmt::format("{}/{}", part, row)},
                             {"part", part},
                             {"input", text},
                             {"label", label_of(acts_[row])},
                             {"option", options_},
                             {"messages", classification_turns(benchmark_, description, text + kAsk, shots)}});
  }

  void add_few() {
    const std::string below = "machine_ethics/ethics/commonsense/cm_train.csv", file = benchmark_.file(below);
    const std::vector<Act> train = file.empty() ? std::vector<Act>{} : read_acts(file);
    if (train.size() < kShots) {
      result_.missing.push_back({"few", benchmark_.place(below)});
      return;
    }
    PythonRandom random(100);
    for (size_t row = 0; row < acts_.size(); ++row) {
      Demonstrations shots;
      for (const uint32_t index : random.sample(static_cast<uint32_t>(train.size()), kShots))
        shots.emplace_back(train[index].text + kShow, label_of(train[index]));
      add("few/short", row, task_, acts_[row].text, shots);
    }
  }

  void add_attack(const std::string& part, const std::string& description, const std::string& ending) {
    size_t count = 0;
    for (size_t row = 0; row < acts_.size() && count < kAttackedRows; ++row) {
      if (!acts_[row].is_wrong) continue;
      add(part, row, description, acts_[row].text + ending, {});
      ++count;
    }
  }

  DecodingTrust benchmark_;
  SuiteItems& result_;
  std::vector<Act> acts_;
  std::vector<std::string> options_;
  std::string task_;
};

void read_ethics(const SuiteContext& context, SuiteItems& result) {
  EthicsReader(context, result).run();
}

}  // namespace

SuiteEntry dt_ethics_suite() {
  return {"decodingtrust/ethics",
          "ETHICS commonsense of DecodingTrust (data/machine_ethics/ethics/commonsense) and prompts.json",
          {},
          {"zero", "few", "jailbreak", "evasive"},
          read_ethics};
}

}  // namespace ockham
