// Metrics as Prometheus reads them: the text format, version 0.0.4. Pure.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace orch::api::http {

class Exposition final {
 public:
  enum class Type { GAUGE, COUNTER };
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;
  static constexpr const char* MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8";

  // Samples that follow are of it. `name`: with its unit, a counter's with `_total`.
  void family(std::string_view name, Type type, std::string_view help);
  void sample(Labels labels, uint64_t value);
  void sample(Labels labels, double value);
  // A family of one.
  void gauge(std::string_view name, std::string_view help, double value) {
    family(name, Type::GAUGE, help);
    sample({}, value);
  }
  void counter(std::string_view name, std::string_view help, uint64_t value) {
    family(name, Type::COUNTER, help);
    sample({}, value);
  }
  // Families that another one has written.
  void append(std::string_view families) { all += families; }
  const std::string& text() const { return all; }

 private:
  void line(Labels labels, std::string_view value);

  std::string all;
  std::string current;
};

}  // namespace orch::api::http
