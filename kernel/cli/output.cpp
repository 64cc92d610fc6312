#include "output.h"

#include <errno.h>
#include <kj/debug.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "orch/fail.h"

namespace orch::cli {

namespace {

constexpr size_t FLUSH_AT_BYTES = 64 << 10;

void writeAll(int fd, kj::ArrayPtr<const char> text) {
  while (text.size() > 0) {
    ssize_t n = ::write(fd, text.begin(), text.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EPIPE) throwReaderGone();
      fail(kj::str("cannot write the output: ", strerror(errno)));
    }
    text = text.slice(static_cast<size_t>(n), text.size());
  }
}

}  // namespace

void throwReaderGone() { fail(kj::String()); }

Output::Output(int out, int errors) : out(out), errors(errors), isTerminal(isatty(out) == 1) {}

unsigned Output::columns() const {
  struct winsize size = {};
  if (ioctl(out, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

void Output::write(kj::ArrayPtr<const char> text) {
  pending.addAll(text);
  if (pending.size() >= FLUSH_AT_BYTES) flush();
}

bool Output::wroteJson(capnp::DynamicStruct::Reader value, bool oneLine) {
  if (json) line(toJson(value, oneLine));
  return json;
}

bool Output::wroteJson(capnp::DynamicList::Reader value) {
  if (json) line(toJson(value));
  return json;
}

void Output::documents(kj::ArrayPtr<const kj::String> items) { line(jsonArray(items)); }

void Output::names(kj::ArrayPtr<const kj::String> items) {
  if (json) return documents(KJ_MAP(item, items) { return jsonText(item); });
  for (auto& item : items) line(item);
}

void Output::flush() {
  auto text = pending.releaseAsArray();
  pending = kj::Vector<char>();
  if (text.size() > 0) lineOpen = text.back() != '\n';
  writeAll(out, text);
}

void Output::error(kj::StringPtr text) { toErrors(kj::str("orch: ", text, "\n")); }

void Output::toErrors(kj::ArrayPtr<const char> text) {
  flush();
  if (lineOpen && isTerminal) writeAll(out, kj::arrayPtr("\n", 1));
  lineOpen = false;
  writeAll(errors, text);
}

}  // namespace orch::cli
