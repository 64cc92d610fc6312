#include "log-lines.h"

#include <capnp/message.h>

#include "human.h"

namespace orch::cli {

namespace {

constexpr size_t MAX_LINE_BYTES = 1 << 20;

bool isError(schema::LogLine::Reader line) {
  return line.getStream() == schema::LogLine::Stream::STDERR;
}

}  // namespace

kj::String logPrefix(schema::LogLine::Reader line, const LogStyle& style, const NodeNames& nodes) {
  std::string name = line.getTaskName().cStr();
  std::string id = line.getTaskId().cStr();
  if (!id.empty() && name.size() > id.size() + 1 &&
      name.compare(name.size() - id.size() - 1, std::string::npos, "." + id) == 0) {
    name.resize(name.size() - id.size() - 1);
  }
  if (style.taskIds && !id.empty()) {
    name += '.';
    name += style.wholeIds ? id : id.substr(0, 12);
  }
  return kj::str(name.c_str(), "@", nodeName(nodes, line.getNodeId()));
}

LogPrinter::LogPrinter(Output& out, LogStyle style, NodeNames nodes)
    : out(out), style(style), nodes(kj::mv(nodes)) {}

void LogPrinter::print(schema::LogLine::Reader line, kj::ArrayPtr<const char> text) {
  if (out.json) {
    out.line(logLineJson(line, text));
    return;
  }
  kj::Vector<char> row;
  if (style.timestamps) row.addAll(kj::str(timestamp(line.getTimeNs()), " "));
  if (!style.raw) {
    auto prefix = logPrefix(line, style, nodes);
    prefixWidth = kj::max(prefixWidth, prefix.size());
    row.addAll(prefix);
    for (size_t n = prefix.size(); n < prefixWidth + 4; ++n) row.add(' ');
    row.addAll("| "_kj);
  }
  row.addAll(text);
  row.add('\n');
  if (isError(line)) {
    out.toErrors(row);
  } else {
    out.write(row);
  }
}

kj::Promise<void> LogPrinter::lines(LinesContext context) {
  for (auto line : context.getParams().getLines()) {
    auto text = line.getText().asChars();
    auto key = std::string(line.getTaskId().cStr()) + (isError(line) ? "2" : "1");
    auto open = begun.find(key);
    if (open == begun.end() && !line.getPartial()) {
      print(line, text);
      continue;
    }
    if (open == begun.end()) {
      auto copy = kj::heap<capnp::MallocMessageBuilder>(64);
      copy->setRoot(line);
      open = begun.emplace(key, Begun{"", kj::mv(copy)}).first;
    }
    std::string& whole = open->second.text;
    whole.append(text.begin(), text.size());
    if (line.getPartial() && whole.size() < MAX_LINE_BYTES) continue;
    print(open->second.line->getRoot<schema::LogLine>(), kj::arrayPtr(whole.data(), whole.size()));
    begun.erase(open);
  }
  out.flush();
  return kj::READY_NOW;
}

void LogPrinter::finish() {
  for (auto& entry : begun) {
    std::string& text = entry.second.text;
    print(entry.second.line->getRoot<schema::LogLine>(), kj::arrayPtr(text.data(), text.size()));
  }
  begun.clear();
}

}  // namespace orch::cli
