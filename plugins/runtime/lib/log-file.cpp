#include "log-file.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <limits>

#include "file-access.h"

namespace orch::runtime {

namespace {

constexpr size_t STREAM_OFFSET = 35;        // the space before the stream
constexpr size_t MAX_HELD_BYTES = 1 << 20;  // of pieces before `since`; a longer line is cut
constexpr unsigned MAX_TRIES = 100;         // of a look that a rotation can spoil

kj::Maybe<kj::AutoCloseFd> openIfThere(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) return kj::AutoCloseFd(fd);
  if (errno == ENOENT) return nullptr;
  failFile("read", path, errno);
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
  constexpr std::string_view FORM = "0000-00-00T00:00:00.000000000+00:00";
  for (size_t i = 0; i < FORM.size(); ++i) {
    bool right = FORM[i] == '0' || text[i] == FORM[i] || (FORM[i] == '+' && text[i] == '-');
    if (!right) return -1;
  }
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

}  // namespace

const char* const LOG_GAP =
    "[orch: the log is incomplete here: it could not be written, as when the disk is full]";

size_t lastRecordIn(std::string_view line) {
  size_t candidate = line.rfind(" std");
  if (candidate == std::string_view::npos || candidate <= STREAM_OFFSET) return 0;
  auto first = parseLogLine(line);
  int64_t firstNs = -1;
  KJ_IF_MAYBE (record, first) firstNs = record->timeNs;
  for (size_t end = line.size(); (end = line.rfind(" std", end)) != std::string_view::npos; --end) {
    if (end <= STREAM_OFFSET) break;
    size_t begin = end - STREAM_OFFSET;
    KJ_IF_MAYBE (record, parseLogLine(line.substr(begin))) {
      // A program that prints a log of this kind prints what is older than its own line.
      if (record->timeNs > firstNs) return begin;
    }
  }
  return 0;
}

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

LogCursor::LogCursor(std::string folder, int64_t tail, int64_t sinceNs)
    : folder(std::move(folder)), sinceNs(sinceNs) {
  openAll();
  if (tail >= 0) seekTail(tail);
}

void LogCursor::openAll() {
  for (unsigned i = 0; i < MAX_TRIES; ++i) {
    files.clear();
    auto numbers = logNumbers(folder);
    for (auto number : numbers) {
      KJ_IF_MAYBE (fd, openIfThere(rotatedLog(folder, number))) {
        auto inode = inodeOf(*fd);
        files.push_back(File{kj::mv(*fd), number, inode});
      }
    }
    lastNumber = numbers.empty() ? 0 : numbers.back();
    KJ_IF_MAYBE (fd, openIfThere(folder + "/log")) {
      auto inode = inodeOf(*fd);
      files.push_back(File{kj::mv(*fd), lastNumber + 1, inode});
    }
    if (logNumbers(folder) == numbers) {
      if (!files.empty()) lastNumber = files.front().number - 1;
      return;
    }
  }
  KJ_FAIL_REQUIRE("the log is rotated faster than it can be opened", folder.c_str());
}

void LogCursor::seekTail(int64_t lines) {
  std::vector<int> open;
  for (auto& file : files) open.push_back(file.fd);
  auto tail = findTail(open, lines);
  for (unsigned stream : {0, 1}) {
    auto& begin = tail.begin[stream];
    for (size_t i = 0; i < files.size(); ++i) {
      files[i].begin[stream] = i < begin.file   ? std::numeric_limits<off_t>::max()
                               : i > begin.file ? 0
                                                : begin.offset;
    }
  }
  size_t first = std::min(tail.begin[0].file, tail.begin[1].file);
  for (size_t i = 0; i < first; ++i) files.pop_front();
  if (!files.empty()) files[0].offset = std::min(files[0].begin[0], files[0].begin[1]);
}

// After the end of the only open file: the next one, if that one has been rotated away.
bool LogCursor::openNext() {
  for (unsigned i = 0; i < MAX_TRIES; ++i) {
    auto numbers = logNumbers(folder);
    auto next = std::upper_bound(numbers.begin(), numbers.end(), lastNumber);
    if (next != numbers.end()) {
      KJ_IF_MAYBE (fd, openIfThere(rotatedLog(folder, *next))) {
        auto inode = inodeOf(*fd);
        files.push_back(File{kj::mv(*fd), *next, inode});
        return true;
      }
      continue;  // removed meanwhile: look again
    }
    KJ_IF_MAYBE (fd, openIfThere(folder + "/log")) {
      if (logNumbers(folder) != numbers) continue;
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

void LogCursor::takeLines(const File& file, std::vector<LogEntry>& entries) {
  size_t begin = 0;
  off_t restAt = file.offset - static_cast<off_t>(rest.size());
  for (size_t end; (end = rest.find('\n', begin)) != std::string::npos; begin = end + 1) {
    takeLine(file, restAt + static_cast<off_t>(begin),
             std::string_view(rest).substr(begin, end - begin), entries);
  }
  rest.erase(0, begin);
}

void LogCursor::takeLine(const File& file, off_t at, std::string_view line,
                         std::vector<LogEntry>& entries) {
  size_t last = lastRecordIn(line);
  KJ_IF_MAYBE (entry, parseLogLine(line.substr(last))) {
    if (at < file.begin[entry->isError]) return;
    lastNs = entry->timeNs;
    if (last > 0) takeCutOff(line.substr(0, last), entries);
    take(std::move(*entry), entries);
  } else if (at >= file.begin[0]) {
    takeCutOff(line, entries);
  }
}

// Its text as far as it goes, and that more is missing.
void LogCursor::takeCutOff(std::string_view record, std::vector<LogEntry>& entries) {
  LogEntry gap{lastNs, false, false, LOG_GAP};
  KJ_IF_MAYBE (entry, parseLogLine(record)) {
    entry->partial = false;
    gap.isError = entry->isError;
    gap.timeNs = entry->timeNs;
    take(std::move(*entry), entries);
  }
  take(std::move(gap), entries);
}

std::vector<LogEntry> LogCursor::readCutOff() {
  std::vector<LogEntry> entries;
  if (!rest.empty()) takeCutOff(rest, entries);
  rest.clear();
  return entries;
}

void LogCursor::take(LogEntry entry, std::vector<LogEntry>& entries) {
  auto& pieces = held[entry.isError];
  if (entry.timeNs >= sinceNs) {
    for (auto& piece : pieces) {
      heldBytes -= piece.text.size();
      entries.push_back(std::move(piece));
    }
    pieces.clear();
    entries.push_back(std::move(entry));
    return;
  }
  bool isPiece = entry.partial;
  if (isPiece && heldBytes + entry.text.size() <= MAX_HELD_BYTES) {
    heldBytes += entry.text.size();
    pieces.push_back(std::move(entry));
  } else {
    for (auto& piece : pieces) heldBytes -= piece.text.size();
    pieces.clear();
  }
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
      takeLines(file, entries);
      continue;
    }
    if (files.size() > 1) {
      lastNumber = file.number;
      files.pop_front();
      for (auto& entry : readCutOff()) entries.push_back(std::move(entry));
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
