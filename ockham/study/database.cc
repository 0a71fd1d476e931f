// SQLite calls with their codes turned into errors of ours.
#include "ockham/study/database.h"

#include <filesystem>

#include "ockham/core/error.h"

namespace ockham {

Database::Database(const std::string& path, Mode mode) : path_(path) {
  if (mode == Mode::kRead && !std::filesystem::is_regular_file(path))
    throw_input("{}: no such file; name a directory that `ockham study` wrote", path);
  const int flags = mode == Mode::kWrite ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
  const int code = sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr);
  if (code != SQLITE_OK) {
    const std::string reason = handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code);
    sqlite3_close(handle_);
    handle_ = nullptr;
    throw_error(ErrorKind::kResource, "{}: cannot open: {}; check the directory and its permissions", path, reason);
  }
  sqlite3_busy_timeout(handle_, 30000);
}

Database::~Database() {
  sqlite3_close(handle_);
}

void Database::fail(const std::string& what, int code) const {
  const std::string reason = sqlite3_errmsg(handle_);
  switch (code & 0xFF) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      throw_input("{}: not a results database, or damaged ({}); move it away and run the study again", path_, reason);
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_BUSY:
    case SQLITE_NOMEM:
      throw_error(ErrorKind::kResource,
                  "{}: {}: {}; finished cells are kept, make room or fix the permissions and run again", path_, what,
                  reason);
    case SQLITE_ERROR:
      // A table or column that is not there: the file is SQLite, but not ours.
      throw_input("{}: {}: {}; this is not a results database of Ockham", path_, what, reason);
    default:
      throw_error(ErrorKind::kInternal, "{}: {}: {} (SQLite code {})", path_, what, reason, code);
  }
}

void Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(sql.substr(0, 40), code);
}

int64_t Database::integer(const std::string& sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.integer(0) : 0;
}

Statement::Statement(Database& database, const std::string& sql) : database_(database) {
  check(sqlite3_prepare_v2(database.handle(), sql.c_str(), static_cast<int>(sql.size()), &statement_, nullptr));
}

void Statement::check(int code) const {
  if (code == SQLITE_OK) return;
  const char* sql = statement_ != nullptr ? sqlite3_sql(statement_) : "prepare";
  database_.fail(std::string(sql).substr(0, 40), code);
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) check(code);
  return false;
}

void Statement::run() {
  while (step()) {
  }
  sqlite3_reset(statement_);
}

std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return bytes == nullptr ? "" : std::string(bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
}

void Statement::bind_one(int index, int64_t value) {
  check(sqlite3_bind_int64(statement_, index, value));
}
void Statement::bind_one(int index, double value) {
  check(sqlite3_bind_double(statement_, index, value));
}
void Statement::bind_one(int index, const std::string& value) {
  check(sqlite3_bind_text(statement_, index, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT));
}

Transaction::~Transaction() {
  if (is_open_) sqlite3_exec(database_.handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  database_.execute("COMMIT");
  is_open_ = false;
}

}  // namespace ockham
