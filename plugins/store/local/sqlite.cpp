#include "sqlite.h"

#include <fcntl.h>
#include <kj/io.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "orch/fail.h"

namespace orch::store::local {

namespace {
// Enough for the pages of a usual transaction. What is read again is in the system's cache anyway.
constexpr int64_t PAGE_CACHE_KIB = 128;
constexpr const char* REMEDY =
    "; restore the folder from a backup, or see the README of store.local";
}  // namespace

Statement::Statement(Database& database, const char* sql) : database(database) {
  sqlite3_stmt* statement = nullptr;
  int result = sqlite3_prepare_v3(database.handle.get(), sql, -1, SQLITE_PREPARE_PERSISTENT,
                                  &statement, nullptr);
  if (result != SQLITE_OK) database.failed(result, "cannot be read as a state of this store");
  handle.reset(statement);
}

Statement& Statement::bind(int index, uint64_t value) {
  sqlite3_bind_int64(handle.get(), index, static_cast<sqlite3_int64>(value));
  return *this;
}
Statement& Statement::bind(int index, std::string_view text) {
  int result = sqlite3_bind_text64(handle.get(), index, text.data() == nullptr ? "" : text.data(),
                                   text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (result != SQLITE_OK) database.failed(result, "cannot take a text");
  return *this;
}
Statement& Statement::bind(int index, kj::ArrayPtr<const kj::byte> blob) {
  int result = blob.size() == 0 ? sqlite3_bind_zeroblob(handle.get(), index, 0)
                                : sqlite3_bind_blob64(handle.get(), index, blob.begin(),
                                                      blob.size(), SQLITE_STATIC);
  if (result != SQLITE_OK) database.failed(result, "cannot take a value");
  return *this;
}

bool Statement::step() {
  int result = sqlite3_step(handle.get());
  if (result == SQLITE_ROW) return true;
  sqlite3_reset(handle.get());
  if (result != SQLITE_DONE) database.failed(result, "failed");
  return false;
}
void Statement::run() {
  while (step()) continue;
}
void Statement::reset() { sqlite3_reset(handle.get()); }

uint64_t Statement::integer(int column) {
  return static_cast<uint64_t>(sqlite3_column_int64(handle.get(), column));
}
std::string_view Statement::text(int column) {
  auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(handle.get(), column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<size_t>(sqlite3_column_bytes(handle.get(), column))};
}
kj::ArrayPtr<const kj::byte> Statement::blob(int column) {
  auto* bytes = static_cast<const kj::byte*>(sqlite3_column_blob(handle.get(), column));
  if (bytes == nullptr) return nullptr;
  return {bytes, static_cast<size_t>(sqlite3_column_bytes(handle.get(), column))};
}
bool Statement::isNull(int column) {
  return sqlite3_column_type(handle.get(), column) == SQLITE_NULL;
}

Database::Database(const std::string& path) : file(path) {
  sqlite3* opened = nullptr;
  int result = sqlite3_open_v2(path.c_str(), &opened,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                   SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOFOLLOW,
                               nullptr);
  handle.reset(opened);
  if (result != SQLITE_OK) failed(result, "cannot be opened");
  // A state that is refused must stay as it was found, also when it is closed.
  sqlite3_db_config(opened, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(opened, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  int keepWal = 1;
  sqlite3_file_control(opened, "main", SQLITE_FCNTL_PERSIST_WAL, &keepWal);
  // Replaces the automatic checkpoint: that would make every so many commits wait for it.
  sqlite3_wal_hook(
      opened,
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<Database*>(self)->frames = static_cast<uint32_t>(pages);
        return SQLITE_OK;
      },
      this);
  execute("PRAGMA locking_mode=EXCLUSIVE");  // also: the index of the log is not a shared mapping
  execute("PRAGMA mmap_size=0");
  execute(kj::str("PRAGMA cache_size=-", PAGE_CACHE_KIB).cStr());
  execute("PRAGMA cache_spill=OFF");  // a large transaction takes what it needs, and gives it back
  execute("PRAGMA temp_store=MEMORY");
  execute("PRAGMA cell_size_check=ON");
  execute("PRAGMA trusted_schema=OFF");
  execute("PRAGMA secure_delete=OFF");
  if (ask("PRAGMA journal_mode=WAL") != "wal") {
    fail(kj::str("cannot keep a write-ahead log beside '", file.c_str(),
                 "': the file system does not support it; use a local disk"));
  }
  execute("PRAGMA synchronous=FULL");
}

Database::~Database() noexcept {}

void Database::execute(const char* sql) {
  int result = sqlite3_exec(handle.get(), sql, nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) failed(result, "failed");
}

std::string Database::ask(const char* sql) {
  Statement statement(*this, sql);
  std::string answer;
  if (statement.step()) answer = statement.text(0);
  return answer;
}

void Database::rollback() {
  if (sqlite3_get_autocommit(handle.get()) == 0) {
    sqlite3_exec(handle.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

bool Database::checkpoint() {
  int inLog = 0, moved = 0;
  int result =
      sqlite3_wal_checkpoint_v2(handle.get(), "main", SQLITE_CHECKPOINT_FULL, &inLog, &moved);
  if (result != SQLITE_OK) failed(result, "cannot take over its write-ahead log");
  if (inLog != moved) return false;
  frames = 0;
  return true;
}

void Database::reserveLog(uint64_t bytes) {
  kj::AutoCloseFd fd(::open((file + "-wal").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  struct stat found;
  if (fd.get() < 0 || fstat(fd, &found) != 0) return;
  if (static_cast<uint64_t>(found.st_size) >= bytes) return;
  const kj::byte zeros[65536] = {};
  uint64_t size = found.st_size;
  while (size < bytes) {
    ssize_t n = pwrite(fd, zeros, kj::min(sizeof(zeros), bytes - size), size);
    if (n <= 0) {
      // What there is may be needed for the state itself.
      if (ftruncate(fd, found.st_size) != 0) return;
      break;
    }
    size += n;
  }
  fdatasync(fd);  // a failure is met again, and reported, by the first commit
}

void Database::close() {
  bool empty = checkpoint();
  handle = nullptr;
  if (!empty) return;
  // The frames that are left would hide the database's own pages if one of them were damaged.
  auto log = file + "-wal";
  kj::AutoCloseFd fd(::open(log.c_str(), O_WRONLY | O_CLOEXEC | O_DSYNC));
  const kj::byte zeros[32] = {};
  if (fd.get() < 0 || pwrite(fd, zeros, sizeof(zeros), 0) != sizeof(zeros)) {
    fail(kj::str("cannot empty '", log.c_str(), "': ", strerror(errno)));
  }
}

void Database::failed(int result, kj::StringPtr what) {
  code = result;
  switch (result & 0xff) {
    case SQLITE_FULL:
      fail(kj::str("no space left on the file system of '", file.c_str(), "'"));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: {
      int number = handle == nullptr ? 0 : sqlite3_system_errno(handle.get());
      fail(kj::str("'", file.c_str(), "' ", what, ": ",
                   number != 0 ? strerror(number) : sqlite3_errstr(result)));
    }
    case SQLITE_BUSY:
      fail(kj::str("'", file.c_str(), "' is in use by another program; end that one first"));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      fail(kj::str("'", file.c_str(), "' is damaged (", sqlite3_errstr(result), ")", REMEDY));
    default:
      fail(kj::str("'", file.c_str(), "' ", what, ": ",
                   handle == nullptr ? sqlite3_errstr(result) : sqlite3_errmsg(handle.get()),
                   REMEDY));
  }
}

}  // namespace orch::store::local
