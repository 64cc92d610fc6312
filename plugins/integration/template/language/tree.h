// A template that has been read.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "language/lexer.h"

namespace orch::integration::templates {

struct Pipeline;
struct Function;

// One word of a command, or what stands in brackets.
struct Operand {
  enum class Kind { DOT, NIL, CONSTANT, FIELDS, VARIABLE, FUNCTION, BRACKETS };
  Kind kind = Kind::DOT;
  Position at;
  std::string variable;                // with its dollar sign
  const Function* function = nullptr;  // lives for ever
  Value constant;
  std::shared_ptr<Pipeline> brackets;  // of this tree, which alone holds it
  std::vector<std::string> fields;     // what follows: `.A.B`; of FIELDS, from the dot on
};

struct Command {
  Position at;
  std::vector<Operand> words;  // at least one
};

struct Pipeline {
  Position at;
  std::vector<std::string> variables;  // that get its value
  bool assigns = false;                // with `=`, those that there are; else it makes them
  std::vector<Command> commands;       // at least one
};

struct Block;
struct Node {
  enum class Kind { TEXT, ACTION, IF, WITH, RANGE, TEMPLATE, BREAK, CONTINUE };
  Kind kind = Kind::TEXT;
  Position at;
  std::string text;  // or the name of a template
  std::optional<Pipeline> pipeline;
  std::shared_ptr<Block> then;       // of this tree, which alone holds it
  std::shared_ptr<Block> otherwise;  // null: there is none
};
struct Block {
  std::vector<Node> nodes;
};

struct Tree {
  std::string name;  // of the file, for errors
  Block root;
  std::map<std::string, Block> templates;  // by `define` and `block`
};

// `name` is that of the file. Fails with `NAME:LINE:COLUMN: WHY` on the first thing that is wrong.
Tree parse(const std::string& name, std::string_view text, const Delimiters& delimiters = {});

}  // namespace orch::integration::templates
