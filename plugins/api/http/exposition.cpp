#include "exposition.h"

#include <charconv>
#include <cmath>

namespace orch::api::http {

namespace {

// Of a help text, and with `quotes` of a label's value.
void appendEscaped(std::string& to, std::string_view text, bool quotes) {
  for (char c : text) {
    if (c == '\\') {
      to += "\\\\";
    } else if (c == '\n') {
      to += "\\n";
    } else if (c == '"' && quotes) {
      to += "\\\"";
    } else {
      to += c;
    }
  }
}

}  // namespace

void Exposition::family(std::string_view name, Type type, std::string_view help) {
  current = name;
  all += "# HELP " + current + " ";
  appendEscaped(all, help, false);
  all += "\n# TYPE " + current + (type == Type::COUNTER ? " counter\n" : " gauge\n");
}

void Exposition::sample(Labels labels, uint64_t value) { line(labels, std::to_string(value)); }

void Exposition::sample(Labels labels, double value) {
  if (std::isnan(value)) return line(labels, "NaN");
  if (std::isinf(value)) return line(labels, value > 0 ? "+Inf" : "-Inf");
  char digits[32];
  auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  line(labels, std::string_view(digits, static_cast<size_t>(end - digits)));
}

void Exposition::line(Labels labels, std::string_view value) {
  all += current;
  char before = '{';
  for (auto& [name, text] : labels) {
    all += before;
    all += name;
    all += "=\"";
    appendEscaped(all, text, true);
    all += '"';
    before = ',';
  }
  if (labels.size() > 0) all += '}';
  all += ' ';
  all += value;
  all += '\n';
}

}  // namespace orch::api::http
