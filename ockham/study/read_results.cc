// Reading results.sqlite back into StudyResults.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/study/database.h"
#include "ockham/study/store.h"
#include "ockham/study/store_schema.h"

namespace ockham {
namespace {

// The task as it was when the study ran: from its stored text, not from today's tasks/ folder.
Task parse_task(const StoredTask& stored) {
  if (stored.text.empty()) {
    // "perplexity:FILE" has no task file; the report needs no more than its kind.
    Task task;
    task.name = task.file = stored.name;
    task.dimension = task.scorer = "perplexity";
    task.kind = RequestKind::kPerplexity;
    return task;
  }
  std::string pattern = (std::filesystem::temp_directory_path() / "ockham-task-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr)
    throw_error(ErrorKind::kResource, "{}: cannot create a temporary directory; set TMPDIR", pattern);
  const std::filesystem::path folder = pattern;
  try {
    write_file_atomically(folder / "task.yaml", stored.text);
    Task task = read_task(folder / "task.yaml");
    std::filesystem::remove_all(folder);
    task.file = stored.name;
    return task;
  } catch (...) {
    std::filesystem::remove_all(folder);
    throw;
  }
}

void read_tables(Database& database, StudyResults& results, std::map<int64_t, size_t>& runs,
                 std::map<int64_t, std::string>& models, std::map<int64_t, std::string>& recipes) {
  Statement run(database, "SELECT id,version,machine,started FROM run ORDER BY id");
  while (run.step()) {
    runs[run.integer(0)] = results.runs.size();
    results.runs.push_back({run.text(1), run.text(2), run.text(3)});
  }
  // Finished cells belong to one row of each name only (see ResultsStore::add_model); that row is the current one.
  const auto current_first = [](const std::string& table) {
    return " FROM " + table + " ORDER BY (SELECT count(*) FROM cell WHERE status='done' AND cell." + table + "=" +
           table + ".id) DESC, id DESC";
  };
  Statement model(database, "SELECT id,name,path,sha256,bytes,parameters" + current_first("model"));
  while (model.step()) {
    models[model.integer(0)] = model.text(1);
    if (results.model(model.text(1)) == nullptr)
      results.models.push_back({model.text(1), model.text(2), model.text(3), model.integer(4), model.integer(5)});
  }
  Statement recipe(database, "SELECT id,name,text,sha256" + current_first("recipe"));
  while (recipe.step()) {
    recipes[recipe.integer(0)] = recipe.text(1);
    if (results.recipe(recipe.text(1)) == nullptr)
      results.recipes.push_back({recipe.text(1), recipe.text(2), recipe.text(3)});
  }
  Statement task(database, "SELECT name,text,sha256,data_sha256,notes FROM task");
  while (task.step()) {
    StoredTask stored{task.text(0), task.text(1), task.text(2), task.text(3), {}};
    if (const std::string notes = task.text(4); !notes.empty())
      for (const Json& note : parse_json(notes, database.path() + ": task.notes"))
        stored.notes.push_back(note.get<std::string>());
    results.stored_tasks.push_back(std::move(stored));
  }
}

void read_cells(Database& database, StudyResults& results, const std::map<int64_t, size_t>& runs,
                const std::map<int64_t, std::string>& models, const std::map<int64_t, std::string>& recipes,
                bool read_items) {
  const auto is_planned = [&](const StoredCell& cell) {
    for (const StudyDescription::Model& model : results.study.models) {
      if (model.name != cell.model) continue;
      const std::vector<uint64_t> seeds = results.study.draws(model, cell.recipe);
      return std::find(model.recipes.begin(), model.recipes.end(), cell.recipe) != model.recipes.end() &&
             std::find(seeds.begin(), seeds.end(), cell.seed) != seeds.end() &&
             (cell.task == kCompressionTask || std::find(results.study.tasks.begin(), results.study.tasks.end(),
                                                         cell.task) != results.study.tasks.end());
    }
    return false;
  };
  Statement row(database,
                "SELECT id,run,model,recipe,seed,task,seconds,peak_bytes FROM cell WHERE status='done' ORDER BY id");
  Statement metric(database, "SELECT name,value,low,high,n,unit,score,higher_is_better FROM metric WHERE cell=?");
  while (row.step()) {
    const auto model = models.find(row.integer(2));
    const auto recipe = recipes.find(row.integer(3));
    if (model == models.end() || recipe == recipes.end()) continue;
    StoredCell cell;
    cell.model = model->second;
    cell.recipe = recipe->second;
    cell.seed = static_cast<uint64_t>(row.integer(4));
    cell.task = row.text(5);
    if (!is_planned(cell)) continue;
    cell.run = runs.at(row.integer(1));
    cell.seconds = row.real(6);
    cell.peak_bytes = row.integer(7);
    metric.bind(row.integer(0));
    while (metric.step())
      cell.metrics.push_back({metric.text(0), real_or_nan(metric, 1), real_or_nan(metric, 2), real_or_nan(metric, 3),
                              metric.integer(4), metric.text(5), metric.integer(6) != 0, metric.integer(7) != 0});
    if (read_items) cell.items = read_cell_items(database, row.integer(0));
    results.cells.push_back(std::move(cell));
  }
}

}  // namespace

StudyResults read_results(const std::string& directory, bool read_items) {
  const std::string path = directory + "/results.sqlite";
  Database database(path, Database::Mode::kRead);
  check_schema(database);
  StudyResults results;
  results.source = directory;
  Statement setting(database, "SELECT value FROM setting WHERE key='study'");
  if (!setting.step())
    throw_input("{}: no study was begun in it; run `ockham study STUDY.yaml -o {}`", path, directory);
  results.study = study_from_json(parse_json(setting.text(0), path), path);
  // One snapshot for all tables, since a study may be writing.
  database.execute("BEGIN");
  std::map<int64_t, size_t> runs;
  std::map<int64_t, std::string> models, recipes;
  read_tables(database, results, runs, models, recipes);
  read_cells(database, results, runs, models, recipes, read_items);
  results.superseded_cells = database.integer("SELECT count(*) FROM cell WHERE status='superseded'");
  database.execute("COMMIT");
  for (const StoredTask& stored : results.stored_tasks) {
    if (std::find(results.study.tasks.begin(), results.study.tasks.end(), stored.name) == results.study.tasks.end())
      continue;
    results.tasks.emplace(stored.name, parse_task(stored));
  }
  return results;
}

}  // namespace ockham
