#include "ockham/search/search.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/core/version.h"
#include "ockham/io/file.h"
#include "ockham/pipeline/compress.h"
#include "ockham/search/constrain.h"
#include "ockham/search/engine_memory.h"
#include "ockham/search/latency.h"
#include "ockham/search/owl_assignment.h"
#include "ockham/search/ranks.h"
#include "ockham/search/search_page.h"
#include "ockham/search/search_report.h"
#include "ockham/search/search_state.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

// Seeds of the sequences that are searched on and that the report measures on.
constexpr uint64_t kSearchDraw = 1000, kHeldOutDraw = 2000;

// Whether the budget speaks of the size of weights, as OWL does.
bool is_weighed(BudgetKind kind) {
  return kind != BudgetKind::kTime && kind != BudgetKind::kMemory;
}

Tensor draw_sequences(const SearchRequest& request, const Checkpoint& checkpoint, int64_t tokens, uint64_t draw) {
  CalibrationSpec spec = request.calibration;
  spec.tokens = std::min(request.sequence, checkpoint.config().context_length);
  spec.samples = std::max<int64_t>(1, tokens / spec.tokens);
  spec.seed = request.calibration.seed + draw;
  return draw_calibration(spec, checkpoint.config(), checkpoint.directory(), request.text_source).ids;
}

class Search {
 public:
  explicit Search(const SearchRequest& request)
      : request_(request),
        checkpoint_(request.model),
        units_(level_units(checkpoint_.config(), request.units, request.ignore)) {
    if (units_.empty()) throw_input("{}: --ignore leaves no linear to search over; lower it", request.model);
    if (fs::exists(request.out) && !request.overwrite)
      throw_input("{}: exists already, expected a new directory; name another one or pass --overwrite", request.out);
    for (const std::string& text : request.budgets) budgets_.push_back(parse_budget(text));
    if (budgets_.empty())
      throw_error(ErrorKind::kUsage, "--budget: is missing, expected one or more, as in --budget sparsity=0.6");
    fixed_ = fixed_costs(checkpoint_, units_);
    LevelRequest levels = request.levels;
    for (const Budget& budget : budgets_) {
      if (budget.kind == BudgetKind::kSparsity) levels.sparsity = budget.value;
      if (budget.kind != BudgetKind::kSparsity) levels.has_bits = true;
    }
    levels_ = read_levels(levels, units_);
  }

  // Throws where the run was ended because a rank is lost.
  void check_ranks() const { ranks_.check_all_alive(); }

  SearchOutcome run() {
    const Stopwatch watch;
    std::optional<SearchState> first;
    if (ranks_.is_first()) first.emplace(request_.out, conditions(), request_.restart);
    // All ranks go on from the same state.
    const std::string shared = ranks_.broadcast(first ? first->text() : "");
    if (!first) first.emplace(shared);
    SearchState& state = *first;
    if (ranks_.size() > 1) {
      const LevelDatabase own(
          checkpoint_, units_, levels_,
          {database_directory(), request_.calibration, request_.text_source, ranks_.rank(), ranks_.size()});
      ranks_.wait_for_all();
    }
    database_ = std::make_unique<LevelDatabase>(
        checkpoint_, units_, levels_,
        LevelDatabase::Options{database_directory(), request_.calibration, request_.text_source});
    measure_costs();
    built_ = build_problem(*database_, budgets_, fixed_, measured_);
    built_.problem.start = uniform_assignment(built_.problem);
    CandidateEvaluator::Options options;
    options.fitness = request_.fitness;
    options.ranks = ranks_.size() > 1 ? &ranks_ : nullptr;
    CandidateEvaluator evaluator(checkpoint_, *database_, built_.order,
                                 draw_sequences(request_, checkpoint_, request_.tokens, kSearchDraw), options);
    const SearchResult result = search(evaluator, state);
    const double search_seconds = watch.seconds();
    Assignment best = result.best;
    if (!request_.limits.limits.empty()) best = keep_limits(evaluator, best, state);
    if (!ranks_.is_first()) return std::move(outcome_);
    compare(best, result.best);
    write_model(best, state);
    report(result, evaluator, search_seconds, watch);
    finish(state);
    return std::move(outcome_);
  }

 private:
  bool has_budget(BudgetKind kind) const {
    return std::any_of(budgets_.begin(), budgets_.end(), [&](const Budget& budget) { return budget.kind == kind; });
  }

  // What only this machine can say, where a budget asks for it.
  void measure_costs() {
    const std::string& directory = database_->directory();
    if (has_budget(BudgetKind::kTime)) {
      if (ranks_.size() > 1)
        throw_error(ErrorKind::kUnsupported, "--budget ms: is measured by one process, found {} ranks; start one",
                    ranks_.size());
      measured_.latency = measure_latency(*database_, directory + "/latency.json");
    }
    if (!has_budget(BudgetKind::kMemory)) return;
    measured_.memory = memory_of_levels(*database_);
    const int64_t overhead =
        ranks_.is_first() ? engine_overhead(checkpoint_, request_.load, directory + "/memory.json") : 0;
    fixed_.other_memory = std::stoll(ranks_.broadcast(std::to_string(overhead))) + fixed_.other_bytes;
  }

  Json conditions() const {
    Json budgets = Json::array();
    for (const Budget& budget : budgets_) budgets.push_back(budget.text);
    return {{"version of ockham", version()},
            {"model", checkpoint_.sha256()},
            {"units", unit_kind_name(request_.units)},
            {"levels", levels_.text()},
            {"budgets", budgets},
            {"calibration",
             {request_.calibration.data, request_.calibration.samples, request_.calibration.tokens,
              request_.calibration.seed}},
            {"limits", request_.limits.limits},
            {"confidence", request_.limits.confidence},
            {"spend", request_.spend},
            {"load", {request_.load.batch, request_.load.context}},
            {"settings", settings_json(request_)}};
  }

  SearchResult search(CandidateEvaluator& evaluator, SearchState& state) {
    if (request_.searcher == "owl") return owl_result(evaluator);
    const std::unique_ptr<Searcher> searcher = find_searcher(request_.searcher).make();
    if (searcher->is_additive() && request_.errors == LevelErrors::kLoss) measure_errors(evaluator, state);
    SearchMemory memory;
    memory.stored = state.phase("search");
    memory.store = [&](const Json& value) { state.store("search", value); };
    SearchResult result = searcher->search(built_.problem, evaluator, request_.settings, memory);
    if (searcher->is_additive()) result.fitness = evaluator.evaluate({&result.best, 1}, evaluator.tokens(), 0).front();
    return result;
  }

  SearchResult owl_result(CandidateEvaluator& evaluator) {
    SearchResult result;
    result.best = owl();
    result.fitness = evaluator.evaluate({&result.best, 1}, evaluator.tokens(), 0).front();
    result.evaluations = 1;
    result.history.push_back({0, evaluator.spent(), result.fitness});
    return result;
  }

  // Of every level, alone, beside the uniform choice (Hubara et al. 2021 change one layer of the dense model).
  void measure_errors(CandidateEvaluator& evaluator, SearchState& state) {
    SearchProblem& problem = built_.problem;
    const int64_t tokens = request_.settings.stages.front().tokens * 4;
    std::vector<std::vector<double>> errors;
    if (const Json stored = state.phase("errors"); !stored.is_null())
      errors = stored.get<std::vector<std::vector<double>>>();
    evaluator.set_parent(problem.start);
    const double base = evaluator.evaluate({&problem.start, 1}, tokens, 0).front();
    for (size_t u = errors.size(); u < problem.units.size(); ++u) {
      std::vector<Assignment> candidates;
      for (size_t rank = 0; rank < problem.units[u].levels.size(); ++rank) {
        candidates.push_back(problem.start);
        candidates.back()[u] = static_cast<int>(rank);
      }
      errors.push_back(evaluator.evaluate(candidates, tokens, 0));
      for (double& error : errors.back()) error -= base;
      state.store("errors", errors);
      report_progress(
          {"errors of levels", static_cast<int64_t>(u) + 1, static_cast<int64_t>(problem.units.size()), "units"});
    }
    for (size_t u = 0; u < problem.units.size(); ++u)
      for (size_t rank = 0; rank < problem.units[u].levels.size(); ++rank)
        problem.units[u].levels[rank].error = errors[u][rank];
  }

  Assignment owl() {
    const BudgetKind kind = budgets_.front().kind;
    const double dense = kind == BudgetKind::kSparsity ? 1
                         : kind == BudgetKind::kBytes  ? static_cast<double>(fixed_.weight_bits) / 8
                                                       : static_cast<double>(fixed_.weight_bits);
    if (shares_.empty())
      shares_ =
          owl_shares(checkpoint_, units_, draw_sequences(request_, checkpoint_, request_.held_out_tokens, kSearchDraw));
    return owl_assignment(built_.problem, units_, shares_, dense, request_.owl_lambda);
  }

  // The choice nearest to `best` that keeps the limits, and what is said of them.
  Assignment keep_limits(CandidateEvaluator& evaluator, const Assignment& best, SearchState& state) {
    judge_ = std::make_unique<LimitJudge>(checkpoint_, request_.limits);
    const auto make_tasks = [&](const std::vector<bool>& wanted) {
      CandidateEvaluator::Options options;
      options.fitness = request_.fitness;
      options.ranks = ranks_.size() > 1 ? &ranks_ : nullptr;
      return std::make_unique<CandidateEvaluator>(
          checkpoint_, *database_, built_.order,
          pack_texts(judge_->texts(wanted), checkpoint_.directory(), request_.sequence, request_.tokens), options);
    };
    const auto decoder = [&](const Assignment& assignment) {
      return decoder_of(checkpoint_, *database_, built_.order, assignment);
    };
    // The first rank's word counts: generated texts need not be the same to the bit on all.
    const auto judge = [&](const Assignment& assignment) {
      return floors_from_text(
          ranks_.broadcast(ranks_.is_first() ? text_of_floors(judge_->on_search_items(*decoder(assignment))) : ""));
    };
    const auto bytes_of = [&](const Assignment& assignment) { return facts(assignment).bytes; };
    const Constrained constrained = constrain(
        {built_.problem, evaluator, make_tasks, judge, bytes_of, request_.settings, request_.spend}, best, state);
    Assignment chosen = constrained.attempts[constrained.chosen].assignment;
    if (!ranks_.is_first()) return chosen;
    const std::vector<FloorResult> unseen = judge_->on_unseen_items(*decoder(chosen));
    outcome_.is_met = constrained.is_met && all_hold(unseen);
    limits_ = limits_json(constrained, unseen, request_.limits.confidence);
    return chosen;
  }

  std::string database_directory() const {
    return request_.database.empty() ? request_.out + ".levels" : request_.database;
  }

  AssignmentFacts facts(const Assignment& assignment) const {
    return facts_of(*database_, built_, fixed_, measured_, assignment);
  }

  ComparedAssignment measured(const std::string& name, const Assignment& assignment) {
    ComparedAssignment one{name, assignment, facts(assignment), held_out_->value(assignment), {}};
    if (judge_ != nullptr)
      one.floors = judge_->on_search_items(*decoder_of(checkpoint_, *database_, built_.order, assignment));
    return one;
  }

  // On tokens that the search never saw.
  void compare(const Assignment& best, const Assignment& unconstrained) {
    CandidateEvaluator::Options options;
    options.fitness = request_.fitness;
    held_out_ = std::make_unique<CandidateEvaluator>(
        checkpoint_, *database_, built_.order,
        draw_sequences(request_, checkpoint_, request_.held_out_tokens, kHeldOutDraw), options);
    outcome_.compared.push_back(measured(request_.searcher, best));
    if (best != unconstrained)
      outcome_.compared.push_back(measured(request_.searcher + " without limits", unconstrained));
    if (request_.searcher != "uniform") outcome_.compared.push_back(measured("uniform", built_.problem.start));
    if (request_.searcher != "owl" && is_weighed(budgets_.front().kind))
      outcome_.compared.push_back(measured("owl", owl()));
    if (request_.has_front) add_front();
  }

  // Other sizes, by the errors that are known: what more or fewer bytes would give.
  void add_front() {
    SearchProblem problem = built_.problem;
    Assignment dearest;
    for (const SearchUnit& unit : problem.units) dearest.push_back(static_cast<int>(unit.levels.size()) - 1);
    const int64_t least = problem.cost(problem.cheapest()), most = problem.cost(dearest);
    for (const double share : {0.1, 0.3, 0.5, 0.7, 0.9}) {
      problem.budgets[0].limit = least + static_cast<int64_t>(share * static_cast<double>(most - least));
      const SearchResult result = make_greedy()->search(problem, *held_out_, {}, {});
      outcome_.front.push_back(measured(fmt::format("greedy at {:.0f} % of the range", 100 * share), result.best));
      report_progress({"other sizes", static_cast<int64_t>(outcome_.front.size()), 5, "sizes"});
    }
  }

  Recipe recipe_of(const Assignment& assignment, const std::string& inputs) const {
    std::vector<Level> chosen;
    for (size_t u = 0; u < units_.size(); ++u)
      chosen.push_back(database_->levels(u)[built_.order[u][static_cast<size_t>(assignment[u])]].level);
    CalibrationSpec calibration = request_.calibration;
    calibration.inputs = inputs;
    Recipe recipe = recipe_of_levels(units_, chosen, calibration);
    recipe.ignore.insert(recipe.ignore.end(), request_.ignore.begin(), request_.ignore.end());
    recipe.summary = fmt::format("Levels chosen by ockham search ({}).", request_.searcher);
    return recipe;
  }

  void write_model(const Assignment& best, SearchState& state) {
    recipe_ = recipe_of(best, "dense");
    CompressOptions options;
    options.text_source = request_.text_source;
    options.is_resumable = true;
    options.overwrite = true;
    const CompressionResult result = compress(request_.model, recipe_, state.path("model"), options);
    totals_ = result.report.at("totals");
    const AssignmentFacts& facts = outcome_.compared.front().facts;
    OCKHAM_CHECK(result.bytes == facts.bytes);
    // What the engine really takes for the model, beside what was added up.
    if (has_budget(BudgetKind::kMemory))
      engine_memory_ = {{"batch", request_.load.batch},
                        {"context", request_.load.context},
                        {"expected", facts.memory},
                        {"measured", measure_engine_memory(state.path("model"), request_.load)}};
  }

  void report(const SearchResult& result, const CandidateEvaluator& evaluator, double search_seconds,
              const Stopwatch& watch) {
    const CandidateEvaluator::Speed speed = evaluator.speed();
    Json history = Json::array();
    for (const SearchPoint& point : result.history) history.push_back({point.generation, point.tokens, point.fitness});
    Json budgets = Json::array();
    const Assignment& best = outcome_.compared.front().assignment;
    for (size_t b = 0; b < budgets_.size(); ++b)
      budgets.push_back({{"budget", budgets_[b].text},
                         {"limit", built_.problem.budgets[b].limit},
                         {"used", built_.problem.cost(best, b)}});
    Json& report = outcome_.report;
    report = {{"version", 1},
              {"ockham", version()},
              {"time", utc_now()},
              {"machine", machine_description()},
              {"model", request_.model},
              {"model_sha256", checkpoint_.sha256()},
              {"settings", settings_json(request_)},
              {"levels", levels_.text()},
              {"budgets", budgets},
              {"smallest_step", built_.problem.smallest_step()},
              {"fitness", result.fitness},
              {"dense_perplexity", held_out_->dense_value().perplexity},
              {"compared", compared_json(outcome_.compared)},
              {"totals", totals_},
              {"layers", layers_json(*database_, built_, best)},
              {"history", history},
              {"evaluations", result.evaluations},
              {"evaluation", speed_json(speed)},
              {"seconds", {{"levels", database_->seconds()}, {"search", search_seconds}, {"all", watch.seconds()}}},
              {"database_bytes", database_->bytes()},
              {"peak_bytes", peak_memory_bytes()}};
    if (!result.multipliers.empty()) report["multipliers"] = result.multipliers;
    if (!outcome_.front.empty()) report["front"] = compared_json(outcome_.front);
    if (!limits_.is_null()) report["limits"] = limits_;
    if (!engine_memory_.is_null()) report["engine_memory"] = engine_memory_;
  }

  void finish(SearchState& state) {
    const std::string model = state.path("model");
    write_file_atomically(model + "/recipe.yaml", recipe_.to_yaml());
    write_file_atomically(model + "/search.json", outcome_.report.dump(1) + "\n");
    write_file_atomically(model + "/search.html", search_page(outcome_.report));
    if (fs::exists(request_.out)) fs::remove_all(request_.out);
    fs::rename(model, request_.out);
    state.remove();
  }

  const SearchRequest& request_;
  Ranks ranks_;
  Checkpoint checkpoint_;
  std::vector<LevelUnit> units_;
  std::vector<Budget> budgets_;
  FixedCosts fixed_;
  LevelSet levels_;
  MeasuredCosts measured_;
  std::unique_ptr<LevelDatabase> database_;
  BuiltProblem built_;
  std::unique_ptr<CandidateEvaluator> held_out_;
  std::vector<double> shares_;
  Recipe recipe_;
  Json totals_, limits_, engine_memory_;
  std::unique_ptr<LimitJudge> judge_;
  SearchOutcome outcome_;
};

}  // namespace

SearchOutcome run_search(const SearchRequest& request) {
  if (request.searcher != "owl") find_searcher(request.searcher);
  Search search(request);
  try {
    return search.run();
  } catch (const Error&) {
    search.check_ranks();
    throw;
  }
}

}  // namespace ockham
