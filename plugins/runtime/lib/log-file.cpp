#include "log-file.h"

#include <dirent.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "conmon.h"

namespace orch::runtime {

namespace {

constexpr size_t TAG_OFFSET = 43;  // `2026-01-01T00:00:00.000000000+00:00 stdout F text`
constexpr size_t BLOCK_BYTES = 64 << 10;
constexpr unsigned MAX_TRIES = 100;  // of a look that a rotation can spoil

std::string rotatedPath(const std::string& folder, uint64_t number) {
  return folder + "/log." + std::to_string(number);
}

// Of the rotated files, ascending.
std::vector<uint64_t> numbersIn(const std::string& folder) {
  std::vector<uint64_t> numbers;
  DIR* open = opendir(folder.c_str());
  if (open == nullptr) return numbers;
  while (dirent* entry = readdir(open)) {
    if (strncmp(entry->d_name, "log.", 4) != 0) continue;
    char* end;
    uint64_t number = strtoull(entry->d_name + 4, &end, 10);
    if (*end == '\0' && number > 0) numbers.push_back(number);
  }
  closedir(open);
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

kj::Maybe<kj::AutoCloseFd> openIfThere(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) return kj::AutoCloseFd(fd);
  if (errno == ENOENT) return nullptr;
  KJ_FAIL_SYSCALL("open", errno, path.c_str());
}

uint64_t inodeOf(int fd) {
  struct stat info;
  KJ_SYSCALL(fstat(fd, &info));
  return info.st_ino;
}

int digits(std::string_view text, size_t at, size_t count) {
  int value = 0;
  for (size_t i = at; i < at + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return -1;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

// `2026-01-01T00:00:00.000000000+00:00` in nanoseconds; -1 if it is none.
int64_t timeOf(std::string_view text) {
  struct tm when = {};
  when.tm_year = digits(text, 0, 4) - 1900;
  when.tm_mon = digits(text, 5, 2) - 1;
  when.tm_mday = digits(text, 8, 2);
  when.tm_hour = digits(text, 11, 2);
  when.tm_min = digits(text, 14, 2);
  when.tm_sec = digits(text, 17, 2);
  int nanos = digits(text, 20, 9);
  int hours = digits(text, 30, 2);
  int minutes = digits(text, 33, 2);
  if (nanos < 0 || hours < 0 || minutes < 0 || when.tm_mon < 0 || when.tm_year < 0) return -1;
  int64_t offset = (hours * 60 + minutes) * 60;
  if (text[29] == '-') offset = -offset;
  return (timegm(&when) - offset) * 1'000'000'000 + nanos;
}

// Where the line begins that comes `lines` whole lines before the end; the count of those found.
struct TailPosition {
  off_t offset;
  int64_t found;
};
TailPosition tailOf(int fd, int64_t lines) {
  struct stat info;
  KJ_SYSCALL(fstat(fd, &info));
  int64_t whole = 0;
  auto isWhole = [&](off_t lineStart) {
    char tag = 'F';
    return pread(fd, &tag, 1, lineStart + TAG_OFFSET) == 1 && tag == 'F';
  };
  std::vector<char> block(BLOCK_BYTES);
  off_t lineEnd = info.st_size;  // behind the line's newline
  for (off_t end = info.st_size; end > 0;) {
    off_t begin = end > static_cast<off_t>(BLOCK_BYTES) ? end - BLOCK_BYTES : 0;
    ssize_t n;
    KJ_SYSCALL(n = pread(fd, block.data(), end - begin, begin));
    for (ssize_t i = n; i-- > 0;) {
      off_t at = begin + i;
      if (block[i] != '\n' || at + 1 == info.st_size) continue;
      if (isWhole(at + 1) && ++whole > lines) return {lineEnd, lines};
      lineEnd = at + 1;
    }
    end = begin;
  }
  if (info.st_size > 0 && isWhole(0) && ++whole > lines) return {lineEnd, lines};
  return {0, whole};
}

}  // namespace

kj::Maybe<LogEntry> parseLogLine(std::string_view line) {
  if (line.size() < TAG_OFFSET + 2 || line[35] != ' ' || line[42] != ' ') return nullptr;
  LogEntry entry;
  entry.timeNs = timeOf(line);
  auto stream = line.substr(36, 6);
  entry.isError = stream == "stderr";
  entry.partial = line[TAG_OFFSET] == 'P';
  if (entry.timeNs < 0 || (!entry.isError && stream != "stdout")) return nullptr;
  entry.text = line.substr(TAG_OFFSET + 2);
  return entry;
}

bool rotateLog(const std::string& folder, const std::string& bundle, uint64_t maxBytes,
               uint32_t maxFiles) {
  struct stat info;
  std::string current = folder + "/log";
  // None: conmon has not come to the last request yet. A second one would lose what is between.
  if (stat(current.c_str(), &info) != 0) return false;
  if (static_cast<uint64_t>(info.st_size) <= maxBytes) return false;
  auto numbers = numbersIn(folder);
  uint64_t next = numbers.empty() ? 1 : numbers.back() + 1;
  KJ_SYSCALL(rename(current.c_str(), rotatedPath(folder, next).c_str()), current.c_str());
  reopenLog(bundle);
  numbers.push_back(next);
  // The newest stays even if none is to be kept: conmon may still write to it.
  size_t keep = std::max<size_t>(maxFiles, 1);
  for (size_t i = 0; i + keep < numbers.size(); ++i) {
    unlink(rotatedPath(folder, numbers[i]).c_str());
  }
  return true;
}

void healLog(const std::string& folder, const std::string& bundle) {
  if (access((folder + "/log").c_str(), F_OK) != 0) reopenLog(bundle);
}

LogCursor::LogCursor(std::string folder, int64_t tail, int64_t sinceNs)
    : folder(std::move(folder)), sinceNs(sinceNs) {
  openAll();
  if (tail >= 0) seekTail(tail);
}

void LogCursor::openAll() {
  for (unsigned i = 0; i < MAX_TRIES; ++i) {
    files.clear();
    auto numbers = numbersIn(folder);
    for (auto number : numbers) {
      KJ_IF_MAYBE (fd, openIfThere(rotatedPath(folder, number))) {
        auto inode = inodeOf(*fd);
        files.push_back(File{kj::mv(*fd), number, inode});
      }
    }
    lastNumber = numbers.empty() ? 0 : numbers.back();
    KJ_IF_MAYBE (fd, openIfThere(folder + "/log")) {
      auto inode = inodeOf(*fd);
      files.push_back(File{kj::mv(*fd), lastNumber + 1, inode});
    }
    if (numbersIn(folder) == numbers) {
      if (!files.empty()) lastNumber = files.front().number - 1;
      return;
    }
  }
  KJ_FAIL_REQUIRE("the log is rotated faster than it can be opened", folder.c_str());
}

void LogCursor::seekTail(int64_t lines) {
  size_t first = files.size();
  while (first > 0) {
    auto position = tailOf(files[first - 1].fd, lines);
    files[first - 1].offset = position.offset;
    lines -= position.found;
    --first;
    if (lines <= 0 && position.offset > 0) break;
  }
  while (first-- > 0) files.pop_front();
}

// After the end of the only open file: the next one, if that one has been rotated away.
bool LogCursor::openNext() {
  for (unsigned i = 0; i < MAX_TRIES; ++i) {
    auto numbers = numbersIn(folder);
    auto next = std::upper_bound(numbers.begin(), numbers.end(), lastNumber);
    if (next != numbers.end()) {
      KJ_IF_MAYBE (fd, openIfThere(rotatedPath(folder, *next))) {
        auto inode = inodeOf(*fd);
        files.push_back(File{kj::mv(*fd), *next, inode});
        return true;
      }
      continue;  // removed meanwhile: look again
    }
    KJ_IF_MAYBE (fd, openIfThere(folder + "/log")) {
      if (numbersIn(folder) != numbers) continue;
      auto inode = inodeOf(*fd);
      files.push_back(File{kj::mv(*fd), lastNumber + 1, inode});
      return true;
    }
    return false;
  }
  return false;
}

bool LogCursor::readMore(File& file) {
  char block[BLOCK_BYTES];
  ssize_t n;
  KJ_SYSCALL(n = pread(file.fd, block, sizeof(block), file.offset));
  file.offset += n;
  rest.append(block, n);
  return n > 0;
}

void LogCursor::takeLines(std::vector<LogEntry>& entries) {
  size_t begin = 0;
  for (size_t end; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1) {
    KJ_IF_MAYBE (entry, parseLogLine(std::string_view(rest).substr(begin, end - begin))) {
      if (entry->timeNs >= sinceNs) entries.push_back(std::move(*entry));
    }
  }
  rest.erase(0, begin);
}

std::vector<LogEntry> LogCursor::read(bool& atEnd) {
  std::vector<LogEntry> entries;
  atEnd = false;
  size_t bytes = 0;
  while (bytes < MAX_BATCH_BYTES) {
    if (files.empty() && !openNext()) {
      atEnd = true;
      break;
    }
    auto& file = files.front();
    size_t before = rest.size();
    if (readMore(file)) {
      bytes += rest.size() - before;
      takeLines(entries);
      continue;
    }
    if (files.size() > 1) {
      lastNumber = file.number;
      files.pop_front();
      rest.clear();
      continue;
    }
    // The last one known. It has an end only if a newer file exists, which conmon makes when it
    // stops to write to this one: so look for that first and read on here once more.
    struct stat info;
    bool isCurrent = stat((folder + "/log").c_str(), &info) == 0 && info.st_ino == file.inode;
    lastNumber = file.number;
    if (isCurrent || !openNext()) {
      atEnd = true;
      break;
    }
  }
  return entries;
}

}  // namespace orch::runtime
