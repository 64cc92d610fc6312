// The log of one container: conmon's k8s-file format, one file `log` that grows and rotated files
// `log.<n>`, n counting up for ever. All of it blocks: for worker threads.
#pragma once

#include <kj/io.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace orch::runtime {

// Where `F` or `P` is: `2026-01-01T00:00:00.000000000+00:00 stdout F text`.
inline constexpr size_t TAG_OFFSET = 43;
inline constexpr size_t BLOCK_BYTES = 64 << 10;  // that are read at once

struct LogEntry {
  int64_t timeNs = 0;
  bool isError = false;  // stderr
  bool partial = false;  // the line goes on in the next entry of its stream
  std::string text;
};

// One record of the file, without its end. Null if it is damaged.
kj::Maybe<LogEntry> parseLogLine(std::string_view line);

// Where the last record in a line of the file begins. conmon drops what a full disk does not take:
// a record that was cut off then ends where the next one begins, without an end of line.
size_t lastRecordIn(std::string_view line);
// What is shown in the place of what is missing.
extern const char* const LOG_GAP;

// What a look at the size of a log found.
struct LogLook {
  uint64_t bytes = 0;    // of `log`, before it was rotated
  bool missing = false;  // there is none: conmon has not come to the last request
  bool rotated = false;
};

// Moves `folder`/log to the next number if it is larger than `maxBytes` (0: never) and lets conmon
// (its ctl fifo is in `bundle`) go on in a fresh one. conmon writes to the moved file until it has
// made the new one, so no line is lost. Of the rotated files the last `maxFiles` stay, but no more
// than hold `maxFiles` times `maxBytes` bytes. If `log` is missing and `askAgain` is set, conmon is
// asked once more. A log whose container goes away meanwhile is no error.
LogLook rotateLog(const std::string& folder, const std::string& bundle, uint64_t maxBytes,
                  uint32_t maxFiles, bool askAgain = false);

// Finishes a rotation that a crash cut off between its two steps. Only for a container whose log
// nobody rotates at the same time.
void healLog(const std::string& folder, const std::string& bundle);

// Numbers of the rotated files, ascending.
std::vector<uint64_t> logNumbers(const std::string& folder);
std::string rotatedLog(const std::string& folder, uint64_t number);

// Where the last `lines` whole lines begin, each stream by itself: the streams' lines may be cut
// into pieces that lie between one another's.
struct LogTail {
  struct Begin {
    size_t file = 0;  // an index into `files`
    off_t offset = 0;
  };
  Begin begin[2];  // of stdout, of stderr
};
// `files` from the oldest to the newest.
LogTail findTail(const std::vector<int>& files, int64_t lines);

// Reads a log from the oldest file on, across rotations that happen meanwhile.
class LogCursor final {
 public:
  static constexpr size_t MAX_BATCH_BYTES = 256 << 10;

  // From the last `tail` lines on (negative: all), lines that end at `sinceNs` or later only; a
  // line comes with all its pieces. A container that has not written yet has no file: then there is
  // nothing to read until it does.
  LogCursor(std::string folder, int64_t tail, int64_t sinceNs);
  KJ_DISALLOW_COPY(LogCursor);

  // What comes next, at most about MAX_BATCH_BYTES. `atEnd` is set if there is no more for now.
  std::vector<LogEntry> read(bool& atEnd);
  // At the end of the log of a container that has ended: what is there of a record that was cut
  // off.
  std::vector<LogEntry> readCutOff();

 private:
  struct File {
    kj::AutoCloseFd fd;
    uint64_t number;  // that it has, or will have when it is rotated
    uint64_t inode;
    off_t offset = 0;
    off_t begin[2] = {0, 0};  // what of stdout and stderr lies before it is not wanted
  };
  void openAll();
  void seekTail(int64_t lines);
  bool openNext();
  bool readMore(File& file);
  void takeLines(const File& file, std::vector<LogEntry>& entries);
  void takeLine(const File& file, off_t at, std::string_view line, std::vector<LogEntry>& entries);
  void takeCutOff(std::string_view record, std::vector<LogEntry>& entries);
  void take(LogEntry entry, std::vector<LogEntry>& entries);

  std::string folder;
  int64_t sinceNs;
  std::deque<File> files;   // the first is read now
  std::string rest;         // the beginning of a line that is still being written
  uint64_t lastNumber = 0;  // of the file that was read last
  // Pieces from before `sinceNs` of lines whose end is not known yet, by stream.
  std::vector<LogEntry> held[2];
  size_t heldBytes = 0;
  int64_t lastNs = 0;  // of the last record
};

}  // namespace orch::runtime
