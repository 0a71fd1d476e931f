// A thin, checked layer over SQLite: one connection, prepared statements, transactions. Errors name the file.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace ockham {

class Database {
 public:
  enum class Mode { kRead, kWrite };
  // kWrite creates the file. Error(kInput) where it is absent (kRead) or no database, Error(kResource) where the system
  // refuses.
  Database(const std::string& path, Mode mode);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& path() const { return path_; }
  void execute(const std::string& sql);
  int64_t integer(const std::string& sql);  // first column of the first row
  int64_t last_id() const { return sqlite3_last_insert_rowid(handle_); }
  sqlite3* handle() const { return handle_; }
  [[noreturn]] void fail(const std::string& what, int code) const;

 private:
  std::string path_;
  sqlite3* handle_ = nullptr;
};

class Statement {
 public:
  Statement(Database& database, const std::string& sql);
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Binds from the first parameter on and forgets what was bound before.
  template <typename... Values>
  Statement& bind(const Values&... values) {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
    int index = 0;
    (bind_one(++index, values), ...);
    return *this;
  }
  bool step();  // true while there is a row
  void run();   // to the end, then ready for the next bind
  int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  double real(int column) const { return sqlite3_column_double(statement_, column); }
  std::string text(int column) const;

 private:
  void bind_one(int index, int64_t value);
  void bind_one(int index, double value);
  void bind_one(int index, const std::string& value);
  void check(int code) const;

  Database& database_;
  sqlite3_stmt* statement_ = nullptr;
};

// Rolled back by the destructor unless committed.
class Transaction {
 public:
  explicit Transaction(Database& database) : database_(database) { database_.execute("BEGIN IMMEDIATE"); }
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  bool is_open_ = true;
};

}  // namespace ockham
