// The few functions of HiGHS's C interface that are called (highs_c_api.h), by the numbers that it documents.
#include "ockham/search/highs.h"

#include <dlfcn.h>

#include <cstdlib>
#include <limits>

#include "ockham/core/error.h"

namespace ockham {
namespace {

// HighsInt is 32 bits wide in what distributions and wheels ship.
using HighsInt = int32_t;
constexpr HighsInt kStatusError = -1, kColumnwise = 1, kMinimize = 1, kIntegerVariable = 1;
constexpr HighsInt kModelOptimal = 7, kModelInfeasible = 8;

struct HighsLibrary {
  void* handle = nullptr;
  void* (*create)() = nullptr;
  void (*destroy)(void*) = nullptr;
  HighsInt (*set_bool)(void*, const char*, HighsInt) = nullptr;
  HighsInt (*set_double)(void*, const char*, double) = nullptr;
  HighsInt (*set_int)(void*, const char*, HighsInt) = nullptr;
  HighsInt (*pass_mip)(void*, HighsInt, HighsInt, HighsInt, HighsInt, HighsInt, double, const double*, const double*,
                       const double*, const double*, const double*, const HighsInt*, const HighsInt*, const double*,
                       const HighsInt*) = nullptr;
  HighsInt (*pass_lp)(void*, HighsInt, HighsInt, HighsInt, HighsInt, HighsInt, double, const double*, const double*,
                      const double*, const double*, const double*, const HighsInt*, const HighsInt*,
                      const double*) = nullptr;
  HighsInt (*run)(void*) = nullptr;
  HighsInt (*model_status)(const void*) = nullptr;
  HighsInt (*solution)(const void*, double*, double*, double*, double*) = nullptr;

  template <typename Function>
  bool find(const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(handle, name));
    return function != nullptr;
  }
};

HighsLibrary open_highs() {
  std::vector<std::string> names = {"libhighs.so", "libhighs.so.1"};
  if (const char* given = std::getenv("OCKHAM_HIGHS"); given != nullptr) names = {given};
  HighsLibrary library;
  for (const std::string& name : names) {
    library.handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library.handle == nullptr) continue;
    if (library.find("Highs_create", library.create) && library.find("Highs_destroy", library.destroy) &&
        library.find("Highs_setBoolOptionValue", library.set_bool) &&
        library.find("Highs_setDoubleOptionValue", library.set_double) &&
        library.find("Highs_setIntOptionValue", library.set_int) && library.find("Highs_passMip", library.pass_mip) &&
        library.find("Highs_passLp", library.pass_lp) && library.find("Highs_run", library.run) &&
        library.find("Highs_getModelStatus", library.model_status) &&
        library.find("Highs_getSolution", library.solution))
      return library;
    dlclose(library.handle);
    library.handle = nullptr;
  }
  return library;
}

const HighsLibrary& highs() {
  static const HighsLibrary kLibrary = open_highs();
  return kLibrary;
}

// Owns a solver.
class Solver {
 public:
  Solver() : model_(highs().create()) {
    highs().set_bool(model_, "output_flag", 0);
    // One thread: the same answer on every machine.
    highs().set_int(model_, "threads", 1);
    highs().set_double(model_, "mip_rel_gap", 0);
    highs().set_double(model_, "mip_abs_gap", 0);
  }
  ~Solver() { highs().destroy(model_); }
  Solver(const Solver&) = delete;
  Solver& operator=(const Solver&) = delete;
  void* get() const { return model_; }

 private:
  void* model_;
};

}  // namespace

bool has_highs() {
  return highs().handle != nullptr;
}

LinearSolution solve(const LinearProgram& program) {
  if (!has_highs())
    throw_error(ErrorKind::kUnsupported,
                "search: searchers 'lp' and 'milp' need HiGHS, and no libhighs.so was found; install it (Debian: "
                "libhighs-dev) or name the file in OCKHAM_HIGHS, or take --searcher dp");
  const Solver solver;
  const auto columns = static_cast<HighsInt>(program.cost.size());
  const auto rows = static_cast<HighsInt>(program.row_lower.size());
  const auto entries = static_cast<HighsInt>(program.values.size());
  const std::vector<double> low(program.cost.size(), 0), high(program.cost.size(), 1);
  const std::vector<HighsInt> kinds(program.cost.size(), kIntegerVariable);
  HighsInt status = 0;
  if (program.is_integer)
    status = highs().pass_mip(solver.get(), columns, rows, entries, kColumnwise, kMinimize, 0, program.cost.data(),
                              low.data(), high.data(), program.row_lower.data(), program.row_upper.data(),
                              program.starts.data(), program.rows.data(), program.values.data(), kinds.data());
  else
    status = highs().pass_lp(solver.get(), columns, rows, entries, kColumnwise, kMinimize, 0, program.cost.data(),
                             low.data(), high.data(), program.row_lower.data(), program.row_upper.data(),
                             program.starts.data(), program.rows.data(), program.values.data());
  if (status != kStatusError) status = highs().run(solver.get());
  const HighsInt found = highs().model_status(solver.get());
  if (found == kModelInfeasible)
    throw_input("search: no choice of levels keeps every budget; raise one of them or add levels");
  if (status == kStatusError || found != kModelOptimal)
    throw_error(ErrorKind::kInternal, "search: HiGHS ended with model status {}, expected {} (optimal)", found,
                kModelOptimal);
  LinearSolution solution;
  solution.values.resize(program.cost.size());
  solution.duals.resize(program.row_lower.size());
  std::vector<double> column_duals(program.cost.size()), row_values(program.row_lower.size());
  highs().solution(solver.get(), solution.values.data(), column_duals.data(), row_values.data(), solution.duals.data());
  return solution;
}

}  // namespace ockham
