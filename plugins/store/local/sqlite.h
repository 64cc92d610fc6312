// A thin layer over SQLite: what owns is closed, what fails throws a text that names the file.
// Not thread-safe; one thread at a time may use a database and its statements.
#pragma once

#include <kj/common.h>
#include <kj/string.h>
#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace orch::store::local {

class Database;

// A prepared statement. Texts and blobs that are bound must stay until the statement is reset.
class Statement final {
 public:
  Statement(Database& database, const char* sql);
  Statement(Statement&&) = default;

  Statement& bind(int index, uint64_t value);  // stored as the signed integer of the same bits
  Statement& bind(int index, std::string_view text);
  Statement& bind(int index, kj::ArrayPtr<const kj::byte> blob);

  // True if there is a row. Resets itself before it throws and after the last row.
  bool step();
  // To the end, without looking at rows.
  void run();
  void reset();

  uint64_t integer(int column);
  // Valid until the next step or reset.
  std::string_view text(int column);
  kj::ArrayPtr<const kj::byte> blob(int column);
  bool isNull(int column);

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  Database& database;
  std::unique_ptr<sqlite3_stmt, Finalize> handle;
};

// A database in WAL mode, synchronous=FULL, used by this connection alone. Destroying it leaves the
// files as they are: nothing is checkpointed unless asked for.
class Database final {
 public:
  // Opens or makes the file. One that is a database already is not written to.
  explicit Database(const std::string& path);
  ~Database() noexcept;
  KJ_DISALLOW_COPY(Database);

  void execute(const char* sql);
  // The first column of the first row of a pragma or query; empty if there is none.
  std::string ask(const char* sql);
  // Ends a transaction without its changes. Does nothing if there is none.
  void rollback();

  // Frames in the write-ahead log that are not in the database file yet.
  uint32_t walFrames() const { return frames; }
  // Moves the log's frames into the database file; true if the log is empty then. Throws if the
  // disk refuses.
  bool checkpoint();
  // Fills the log's file with zeros up to `bytes`, so that a sync of it does not wait for the file
  // system's journal. Does nothing if there is no space.
  void reserveLog(uint64_t bytes);
  // Checkpoints, closes and marks the log as empty without giving its blocks back. Every statement
  // must be gone. Throws if the disk refuses; the files can be opened again either way.
  void close();

  // Whether the last failure since `clearFailure` was for want of space.
  bool lastWasFull() const { return (code & 0xff) == SQLITE_FULL; }
  void clearFailure() { code = SQLITE_OK; }
  const std::string& path() const { return file; }

 private:
  friend class Statement;
  [[noreturn]] void failed(int result, kj::StringPtr what);
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  std::string file;
  std::unique_ptr<sqlite3, Close> handle;
  uint32_t frames = 0;
  int code = SQLITE_OK;
};

}  // namespace orch::store::local
