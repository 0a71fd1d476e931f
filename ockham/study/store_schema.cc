// Version 1.1. The file's user_version is 1000 * major + minor; a minor step only adds tables or columns.
#include "ockham/study/store_schema.h"

#include <limits>

#include "ockham/core/error.h"
#include "ockham/study/store.h"

namespace ockham {
namespace {

constexpr int64_t kApplicationId = 0x4F636B68;  // "Ockh"

constexpr const char* kTables = R"sql(
CREATE TABLE run(id INTEGER PRIMARY KEY, version TEXT NOT NULL, machine TEXT NOT NULL, started TEXT NOT NULL);
CREATE TABLE model(id INTEGER PRIMARY KEY, name TEXT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL,
  parameters INTEGER NOT NULL, UNIQUE(name, sha256));
CREATE TABLE recipe(id INTEGER PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL, sha256 TEXT NOT NULL, UNIQUE(name, sha256));
CREATE TABLE cell(id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, model INTEGER NOT NULL REFERENCES model,
  recipe INTEGER NOT NULL REFERENCES recipe, seed INTEGER NOT NULL, task TEXT NOT NULL,
  status TEXT NOT NULL CHECK(status IN ('running', 'done', 'superseded')), seconds REAL NOT NULL, peak_bytes INTEGER NOT NULL,
  fingerprint TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX one_cell ON cell(model, recipe, seed, task) WHERE status <> 'superseded';
CREATE TABLE item(cell INTEGER NOT NULL REFERENCES cell, id TEXT NOT NULL, prompt_sha TEXT NOT NULL, answer TEXT NOT NULL,
  score REAL, refused INTEGER NOT NULL, extra TEXT NOT NULL, PRIMARY KEY(cell, id)) WITHOUT ROWID;
CREATE TABLE metric(cell INTEGER NOT NULL REFERENCES cell, name TEXT NOT NULL, value REAL, low REAL, high REAL, n INTEGER NOT NULL,
  unit TEXT NOT NULL, score INTEGER NOT NULL, higher_is_better INTEGER NOT NULL, PRIMARY KEY(cell, name)) WITHOUT ROWID;
CREATE TABLE task(name TEXT PRIMARY KEY, text TEXT NOT NULL, sha256 TEXT NOT NULL, tier TEXT NOT NULL, data_sha256 TEXT NOT NULL,
  notes TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE prompt(sha TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE setting(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
)sql";

}  // namespace

void check_schema(Database& database) {
  if (database.integer("PRAGMA application_id") != kApplicationId)
    throw_input("{}: not a results database of Ockham; name a directory that `ockham study` wrote", database.path());
  const int64_t version = database.integer("PRAGMA user_version");
  if (version / 1000 != ResultsStore::kMajor)
    throw_error(ErrorKind::kUnsupported,
                "{}: schema version {}.{}, this program reads {}.x; use the Ockham that wrote it", database.path(),
                version / 1000, version % 1000, ResultsStore::kMajor);
}

void prepare_schema(Database& database) {
  database.execute("PRAGMA journal_mode=WAL");
  // Enough against a killed process; after a power cut the last cells may be missing, never half there.
  database.execute("PRAGMA synchronous=NORMAL");
  Transaction transaction(database);
  if (database.integer("SELECT count(*) FROM sqlite_master") == 0) {
    database.execute(kTables);
    database.execute("PRAGMA application_id=" + std::to_string(kApplicationId));
    database.execute("PRAGMA user_version=" + std::to_string(ResultsStore::kMajor * 1000 + ResultsStore::kMinor));
  } else {
    check_schema(database);
    const int64_t version = database.integer("PRAGMA user_version");
    if (version % 1000 < 1) {
      database.execute("ALTER TABLE cell ADD COLUMN fingerprint TEXT NOT NULL DEFAULT ''");
      database.execute("PRAGMA user_version=" + std::to_string(version + 1));
    }
  }
  transaction.commit();
}

double real_or_nan(const Statement& row, int column) {
  return row.text(column).empty() ? std::numeric_limits<double>::quiet_NaN() : row.real(column);
}

std::vector<ItemResult> read_cell_items(Database& database, int64_t cell) {
  Statement row(database,
                "SELECT item.id,prompt_sha,answer,score,refused,extra,prompt.text FROM item LEFT JOIN prompt "
                "ON prompt.sha=item.prompt_sha WHERE cell=? ORDER BY item.id");
  const std::string where = database.path() + ": item.extra";
  std::vector<ItemResult> items;
  row.bind(cell);
  while (row.step()) {
    ItemResult item{row.text(0), row.text(1), row.text(6), row.text(2), real_or_nan(row, 3), row.integer(4) != 0, {}};
    if (const std::string extra = row.text(5); !extra.empty()) item.extra = parse_json(extra, where);
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace ockham
