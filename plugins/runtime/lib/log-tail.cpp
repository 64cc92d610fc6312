// Where the last lines of a log begin.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "file-access.h"
#include "log-file.h"

namespace orch::runtime {

namespace {

constexpr off_t MAX_LINE_BYTES = 64 << 10;  // conmon's records have at most 8 KiB of text
// Pieces that lie further back than that are given up: a program that never ends its line.
constexpr off_t MAX_PIECES_BYTES = 16 << 20;

// Hears of the entries from the last one to the first.
class TailFinder {
 public:
  TailFinder(int64_t lines, LogTail::Begin end) : lines(lines) {
    for (auto& begin : tail.begin) begin = end;
  }

  // False if all that is wanted has been found.
  bool take(LogTail::Begin at, off_t length, bool isError, bool isPiece) {
    auto& stream = streams[isError];
    if (!isPiece && whole < lines) {
      ++whole;
      stream = Stream::OPEN;  // its first piece, if it has more, is further back
    } else if (!isPiece) {
      stream = Stream::DONE;
    }
    if (whole >= lines) beyond += length;
    // Pieces behind the last whole line belong to one that is not ended yet.
    if (stream == Stream::UNSEEN) stream = Stream::OPEN;
    if (stream == Stream::OPEN) tail.begin[isError] = at;
    return !found();
  }
  LogTail tail;

 private:
  enum class Stream { UNSEEN, OPEN, DONE };
  bool found() const {
    if (whole < lines) return false;
    if (beyond > MAX_PIECES_BYTES) return true;
    bool anyDone = false;
    for (auto stream : streams) {
      if (stream == Stream::OPEN) return false;
      anyDone = anyDone || stream == Stream::DONE;
    }
    return anyDone;
  }
  int64_t lines;
  int64_t whole = 0;
  off_t beyond = 0;
  Stream streams[2] = {Stream::UNSEEN, Stream::UNSEEN};
};

// Behind the last newline: what follows is still being written.
off_t endOfLines(int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0) failFile("look at", "a log", errno);
  std::vector<char> block(BLOCK_BYTES);
  for (off_t end = info.st_size; end > 0;) {
    off_t begin = std::max<off_t>(0, end - static_cast<off_t>(BLOCK_BYTES));
    ssize_t n = pread(fd, block.data(), end - begin, begin);
    if (n < 0) failFile("read", "a log", errno);
    for (ssize_t i = n; i-- > 0;) {
      if (block[i] == '\n') return begin + i + 1;
    }
    end = begin;
  }
  return 0;
}

// The entries of one file before `end`, from the last one on. False if the finder has found all.
bool walkBack(int fd, size_t file, off_t end, TailFinder& finder) {
  off_t lineEnd = end;  // behind the newline of the entry that is looked for
  auto entry = [&](off_t begin) {
    std::string line(std::min(lineEnd - begin, MAX_LINE_BYTES), '\0');
    ssize_t n = pread(fd, line.data(), line.size(), begin);
    if (n < 0) failFile("read", "a log", errno);
    line.resize(n);
    if (!line.empty() && line.back() == '\n') line.pop_back();
    auto record = parseLogLine(std::string_view(line).substr(lastRecordIn(line)));
    KJ_IF_MAYBE (found, record) {
      return finder.take({file, begin}, lineEnd - begin, found->isError, found->partial);
    }
    return finder.take({file, begin}, lineEnd - begin, false, false);
  };
  std::vector<char> block(BLOCK_BYTES);
  while (end > 0) {
    off_t begin = std::max<off_t>(0, end - static_cast<off_t>(BLOCK_BYTES));
    ssize_t n = pread(fd, block.data(), end - begin, begin);
    if (n < 0) failFile("read", "a log", errno);
    for (ssize_t i = n; i-- > 0;) {
      off_t at = begin + i + 1;
      if (block[i] != '\n' || at == lineEnd) continue;
      if (!entry(at)) return false;
      lineEnd = at;
    }
    end = begin;
  }
  return lineEnd == 0 || entry(0);
}

}  // namespace

LogTail findTail(const std::vector<int>& files, int64_t lines) {
  LogTail::Begin end;
  if (!files.empty()) end = {files.size() - 1, endOfLines(files.back())};
  TailFinder finder(lines, end);
  for (size_t i = files.size(); i-- > 0;) {
    off_t lineEnd = i == end.file ? end.offset : endOfLines(files[i]);
    if (!walkBack(files[i], i, lineEnd, finder)) break;
  }
  return finder.tail;
}

}  // namespace orch::runtime
