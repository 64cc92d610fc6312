// The functions of a template: Go's own, consul-template's, and those of sprig that are common
// (`sprig_upper`). A function is a constant; what it works with comes with the call.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "language/value.h"

namespace orch::integration::templates {

// What a template learns that is not in it. Of one rendering, on its thread.
class World {
 public:
  virtual ~World() noexcept(false) {}
  // `service`, `key` and the like. While the answer is on its way: what is as good as nothing.
  virtual Value ask(Call& call) = 0;
  virtual std::optional<std::string> env(const std::string& name) = 0;
  virtual int64_t nowNs() = 0;
};

class Rendering;

struct Call {
  const char* function;
  std::vector<Value> arguments;  // as many as the function has parameters, and of their kinds
  Rendering& rendering;

  // Fails, with the place in the template.
  [[noreturn]] void wrong(const std::string& why) const;
  // Of an argument that is a text or a number.
  const std::string& text(size_t index) const { return arguments[index].text(); }
  int64_t integer(size_t index) const { return arguments[index].asInteger(); }
  size_t size() const { return arguments.size(); }
  World& world() const;
};

struct Function {
  const char* name;
  // A letter for each: s a text, i a whole number, l a list, t a list of texts, m a map, a
  // anything. After the last one `?` says that it may be missing, `*` that there are any number of
  // it.
  const char* parameters;
  // Null for `and` and `or`, which look at an argument only if it matters.
  Value (*run)(Call& call);
};

// nullptr: there is none. Lives for ever.
const Function* findFunction(std::string_view name);
// `; did you mean '…'?`, or nothing.
std::string nearestFunction(std::string_view name);
// Why a function does not take these arguments; empty: it does.
std::string refusedArguments(const Function& function, const std::vector<Value>& arguments);

using FunctionTable = std::span<const Function>;
FunctionTable goFunctions();
FunctionTable dataFunctions();
FunctionTable textFunctions();
FunctionTable numberFunctions();
FunctionTable listFunctions();
FunctionTable encodingFunctions();
FunctionTable sprigFunctions();

// Whether `needle` is in a list, or in a text.
bool isIn(const Value& hay, const Value& needle);

}  // namespace orch::integration::templates
