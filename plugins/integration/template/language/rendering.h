// Works out a template. Pure but for what its World says; takes as long as the template has it, up
// to its limits: for worker threads.
#pragma once

#include "language/functions.h"
#include "language/tree.h"

namespace orch::integration::templates {

// What one rendering may cost: a template that loops or calls itself for ever is refused.
struct Limits {
  size_t steps = 5'000'000;        // actions, commands and turns of a loop
  size_t printedBytes = 16 << 20;  // of the result
  size_t madeBytes = 256 << 20;    // of texts that functions make
  unsigned depth = 300;            // of blocks, brackets and templates in each other
};

struct RenderOptions {
  Limits limits;
  bool failsOnMissingKey = false;  // instead of printing `<no value>`
};

// Fails with `NAME:LINE:COLUMN: WHY`, NAME being that of the tree.
std::string render(const Tree& tree, World& world, const RenderOptions& options = {});

class Rendering final {
 public:
  Rendering(const Tree& tree, World& world, const RenderOptions& options);

  std::string run();
  // What the template of that name prints.
  std::string execute(const std::string& name, const Value& dot);
  [[noreturn]] void wrong(const std::string& why) const;
  // For what functions make, before it is made where it can be much.
  void charge(size_t bytes);
  // Fails for what holds more values in each other than the stack may have to walk through.
  void checkDepth(const Value& value) const;
  World& world() { return outside; }
  const std::shared_ptr<Object>& scratch() const { return pad; }

 private:
  enum class Flow { NEXT, BREAK, CONTINUE };
  class Level;
  struct Variable {
    std::string name;
    Value value;
  };

  void step();
  void print(std::string_view text);
  Flow walk(const Block& block, const Value& dot);
  Flow node(const Node& node, const Value& dot);
  Flow choice(const Node& node, const Value& dot);
  Flow loop(const Node& node, const Value& dot);
  Flow turn(const Node& node, const Value& index, const Value& item);
  void callTemplate(const Node& node, const Value& dot);
  void body(const std::string& name, const Value& dot);

  Value pipeline(const Pipeline& pipeline, const Value& dot);
  Value command(const Command& command, const Value& dot, const Value* last);
  Value operand(const Operand& operand, const Value& dot);
  Value start(const Operand& operand, const Value& dot);
  Value call(const Operand& operand, std::vector<Value> arguments);
  Value shortCircuit(const Command& command, const Value& dot, const Value* last);
  Value chain(Value from, const Operand& operand, std::vector<Value> arguments);
  Value field(const Value& of, const std::string& name, bool nothing, std::vector<Value> arguments);
  void assign(const std::string& name, Value value);

  const Tree& tree;
  World& outside;
  const RenderOptions& options;
  const std::shared_ptr<Object> pad;
  std::vector<Variable> variables;
  std::string out;
  Position at;
  size_t steps = 0;
  size_t made = 0;
  unsigned depth = 0;
};

// The object that `scratch` stands for.
std::shared_ptr<Object> newScratch();

}  // namespace orch::integration::templates
