// Schema and writing of results.sqlite.
#include "ockham/study/store.h"

#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/file_lock.h"
#include "ockham/study/database.h"
#include "ockham/study/store_schema.h"

namespace ockham {
namespace {

std::string prepared_directory(const std::string& directory) {
  std::error_code failure;
  std::filesystem::create_directories(directory, failure);
  if (failure || !std::filesystem::is_directory(directory))
    throw_error(ErrorKind::kResource, "{}: cannot create this directory: {}; choose another -o", directory,
                failure ? failure.message() : "a file of this name exists");
  return directory;
}

std::string dump(const Json& json) {
  return json.is_null() ? "" : json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

struct ResultsStore::State {
  explicit State(const std::string& directory)
      : lock(prepared_directory(directory) + "/results.lock", ErrorKind::kResource,
             "another study is writing into this directory; wait for it, or choose another -o"),
        database(directory + "/results.sqlite", Database::Mode::kWrite) {
    if (!lock.is_held())
      throw_error(ErrorKind::kResource,
                  "{}: this file system has no locks, which keep two studies apart; choose another -o", directory);
    prepare_schema(database);
    add_item = std::make_unique<Statement>(
        database, "INSERT INTO item(cell,id,prompt_sha,answer,score,refused,extra) VALUES(?,?,?,?,?,?,?)");
    add_prompt = std::make_unique<Statement>(database, "INSERT OR IGNORE INTO prompt(sha,text) VALUES(?,?)");
    add_metric = std::make_unique<Statement>(
        database,
        "INSERT INTO metric(cell,name,value,low,high,n,unit,score,higher_is_better) VALUES(?,?,?,?,?,?,?,?,?)");
    done_seconds = std::make_unique<Statement>(
        database, "SELECT seconds FROM cell WHERE model=? AND recipe=? AND seed=? AND task=? AND status='done'");
  }

  // The row of this name and hash, or 0; finished cells of the name's other rows are superseded.
  int64_t find(const std::string& table, const std::string& name, const std::string& sha256) {
    Statement others(database, "UPDATE cell SET status='superseded' WHERE status='done' AND " + table +
                                   " IN (SELECT id FROM " + table + " WHERE name=? AND sha256<>?)");
    others.bind(name, sha256).run();
    superseded += sqlite3_changes(database.handle());
    Statement same(database, "SELECT id FROM " + table + " WHERE name=? AND sha256=?");
    return same.bind(name, sha256).step() ? same.integer(0) : 0;
  }

  FileLock lock;
  Database database;
  std::unique_ptr<Statement> add_item, add_prompt, add_metric, done_seconds;
  int64_t superseded = 0;
};

ResultsStore::ResultsStore(const std::string& directory) : state_(std::make_unique<State>(directory)) {}
ResultsStore::~ResultsStore() = default;
int64_t ResultsStore::superseded() const {
  return state_->superseded;
}

void ResultsStore::set_study(const StudyDescription& study) {
  Statement(state_->database, "INSERT OR REPLACE INTO setting(key,value) VALUES('study',?)")
      .bind(dump(to_json(study)))
      .run();
}

int64_t ResultsStore::add_run(const StoredRun& run) {
  Statement(state_->database, "INSERT INTO run(version,machine,started) VALUES(?,?,?)")
      .bind(run.version, run.machine, run.started)
      .run();
  return state_->database.last_id();
}

int64_t ResultsStore::add_model(const StoredModel& model) {
  Transaction transaction(state_->database);
  int64_t id = state_->find("model", model.name, model.sha256);
  if (id == 0) {
    Statement(state_->database, "INSERT INTO model(name,path,sha256,bytes,parameters) VALUES(?,?,?,?,?)")
        .bind(model.name, model.path, model.sha256, model.bytes, model.parameters)
        .run();
    id = state_->database.last_id();
  }
  transaction.commit();
  return id;
}

int64_t ResultsStore::add_recipe(const StoredRecipe& recipe) {
  Transaction transaction(state_->database);
  int64_t id = state_->find("recipe", recipe.name, recipe.sha256);
  if (id == 0) {
    Statement(state_->database, "INSERT INTO recipe(name,text,sha256) VALUES(?,?,?)")
        .bind(recipe.name, recipe.text, recipe.sha256)
        .run();
    id = state_->database.last_id();
  }
  transaction.commit();
  return id;
}

void ResultsStore::add_task(const StoredTask& task, const std::string& tier) {
  Transaction transaction(state_->database);
  Statement known(state_->database, "SELECT sha256, tier FROM task WHERE name=?");
  const bool is_known = known.bind(task.name).step();
  const bool is_same = is_known && known.text(0) == task.sha256 && known.text(1) == tier;
  if (!is_same) {
    Statement(state_->database, "UPDATE cell SET status='superseded' WHERE status='done' AND task=?")
        .bind(task.name)
        .run();
    state_->superseded += sqlite3_changes(state_->database.handle());
    Statement(state_->database,
              "INSERT OR REPLACE INTO task(name,text,sha256,tier,data_sha256,notes) VALUES(?,?,?,?,'','')")
        .bind(task.name, task.text, task.sha256, tier)
        .run();
  }
  transaction.commit();
}

bool ResultsStore::is_done(int64_t model, int64_t recipe, uint64_t seed, const std::string& task) {
  const bool found = state_->done_seconds->bind(model, recipe, static_cast<int64_t>(seed), task).step();
  state_->done_seconds->bind();
  return found;
}

double ResultsStore::seconds_of(int64_t model, int64_t recipe, uint64_t seed, const std::string& task) {
  Statement& query = *state_->done_seconds;
  const double seconds = query.bind(model, recipe, static_cast<int64_t>(seed), task).step() ? query.real(0) : 0;
  query.bind();
  return seconds;
}

int64_t ResultsStore::begin_cell(int64_t run, int64_t model, int64_t recipe, uint64_t seed, const std::string& task) {
  Database& database = state_->database;
  Transaction transaction(database);
  const auto seed_value = static_cast<int64_t>(seed);
  Statement left(database, "SELECT id FROM cell WHERE status='running' AND model=? AND recipe=? AND seed=? AND task=?");
  if (left.bind(model, recipe, seed_value, task).step()) {
    const int64_t id = left.integer(0);
    Statement(database, "UPDATE cell SET run=? WHERE id=?").bind(run, id).run();
    transaction.commit();
    return id;
  }
  Statement(database,
            "INSERT INTO cell(run,model,recipe,seed,task,status,seconds,peak_bytes) VALUES(?,?,?,?,?,'running',0,0)")
      .bind(run, model, recipe, seed_value, task)
      .run();
  const int64_t id = database.last_id();
  transaction.commit();
  return id;
}

std::vector<ItemResult> ResultsStore::resume_cell(int64_t cell, const std::string& fingerprint) {
  Database& database = state_->database;
  Transaction transaction(database);
  Statement known(database, "SELECT fingerprint FROM cell WHERE id=?");
  std::vector<ItemResult> items;
  if (known.bind(cell).step() && known.text(0) == fingerprint) {
    items = read_cell_items(database, cell);
  } else {
    Statement(database, "DELETE FROM item WHERE cell=?").bind(cell).run();
    Statement(database, "UPDATE cell SET fingerprint=? WHERE id=?").bind(fingerprint, cell).run();
  }
  transaction.commit();
  return items;
}

void ResultsStore::add_items(int64_t cell, const std::vector<ItemResult>& items) {
  Transaction transaction(state_->database);
  for (const ItemResult& item : items) {
    state_->add_item
        ->bind(cell, item.id, item.prompt_sha, item.answer, item.score, static_cast<int64_t>(item.is_refusal ? 1 : 0),
               dump(item.extra))
        .run();
    if (!item.prompt.empty() && !item.prompt_sha.empty()) state_->add_prompt->bind(item.prompt_sha, item.prompt).run();
  }
  transaction.commit();
}

void ResultsStore::finish_cell(int64_t cell, const std::vector<MetricResult>& metrics, double seconds,
                               int64_t peak_bytes) {
  Transaction transaction(state_->database);
  for (const MetricResult& metric : metrics)
    state_->add_metric
        ->bind(cell, metric.name, metric.value, metric.low, metric.high, metric.n, metric.unit,
               static_cast<int64_t>(metric.is_score ? 1 : 0), static_cast<int64_t>(metric.higher_is_better ? 1 : 0))
        .run();
  Statement(state_->database, "UPDATE cell SET status='done', seconds=?, peak_bytes=? WHERE id=?")
      .bind(seconds, peak_bytes, cell)
      .run();
  transaction.commit();
}

namespace {

// A finished cell's id, or 0.
int64_t find_cell(Database& database, int64_t model, int64_t recipe, uint64_t seed, const std::string& task,
                  const std::string& condition = "") {
  Statement known(database,
                  "SELECT id FROM cell WHERE status='done' AND model=? AND recipe=? AND seed=? AND task=?" + condition);
  return known.bind(model, recipe, static_cast<int64_t>(seed), task).step() ? known.integer(0) : 0;
}

}  // namespace

bool ResultsStore::reopen_incomplete(int64_t model, int64_t recipe, uint64_t seed, const std::string& task) {
  Database& database = state_->database;
  Transaction transaction(database);
  const int64_t cell = find_cell(database, model, recipe, seed, task,
                                 fmt::format(" AND id IN (SELECT cell FROM metric WHERE name='{}')", kMissingMetric));
  if (cell != 0) {
    Statement(database, "DELETE FROM metric WHERE cell=?").bind(cell).run();
    Statement(database, "UPDATE cell SET status='running' WHERE id=?").bind(cell).run();
  }
  transaction.commit();
  return cell != 0;
}

void ResultsStore::remove_cell(int64_t model, int64_t recipe, uint64_t seed, const std::string& task) {
  Database& database = state_->database;
  Transaction transaction(database);
  if (const int64_t cell = find_cell(database, model, recipe, seed, task); cell != 0) {
    for (const char* table : {"metric", "item"})
      Statement(database, fmt::format("DELETE FROM {} WHERE cell=?", table)).bind(cell).run();
    Statement(database, "DELETE FROM cell WHERE id=?").bind(cell).run();
  }
  transaction.commit();
}

void ResultsStore::set_task_data(const std::string& task, const std::string& data_sha256,
                                 const std::vector<std::string>& notes, bool set_notes) {
  Transaction transaction(state_->database);
  Statement known(state_->database, "SELECT data_sha256 FROM task WHERE name=?");
  if (known.bind(task).step() && !known.text(0).empty() && known.text(0) != data_sha256)
    throw_input(
        "{}: the items of task '{}' changed since the study began (hash {}, before {}); results would not be "
        "comparable, choose another -o",
        state_->database.path(), task, data_sha256.substr(0, 12), known.text(0).substr(0, 12));
  Statement(state_->database, "UPDATE task SET data_sha256=? WHERE name=?").bind(data_sha256, task).run();
  if (set_notes)
    Statement(state_->database, "UPDATE task SET notes=? WHERE name=?").bind(dump(Json(notes)), task).run();
  transaction.commit();
}

}  // namespace ockham
