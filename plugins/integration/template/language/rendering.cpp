#include "language/rendering.h"

#include <algorithm>

#include "language/format.h"

namespace orch::integration::templates {

namespace {

// Of lists and maps in each other.
constexpr unsigned MOST_VALUE_DEPTH = 150;

}  // namespace

class Rendering::Level final {
 public:
  explicit Level(Rendering& rendering) : rendering(rendering) {
    if (++rendering.depth > rendering.options.limits.depth) {
      rendering.wrong("there is too much in each other: templates that call themselves?");
    }
  }
  ~Level() { --rendering.depth; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  Rendering& rendering;
};

Rendering::Rendering(const Tree& tree, World& world, const RenderOptions& options)
    : tree(tree), outside(world), options(options), pad(newScratch()) {}

std::string Rendering::run() {
  variables.push_back({"$", Value()});
  walk(tree.root, Value());
  return std::move(out);
}

void Rendering::wrong(const std::string& why) const { failAt(tree.name, at, why); }

void Rendering::step() {
  if (++steps > options.limits.steps) wrong("it takes too many steps: does it loop for ever?");
}

void Rendering::charge(size_t bytes) {
  if (bytes > options.limits.madeBytes - std::min(made, options.limits.madeBytes)) {
    wrong("it makes too much text");
  }
  made += bytes;
}

void Rendering::checkDepth(const Value& value) const {
  if (value.depth() > MOST_VALUE_DEPTH) wrong("too many lists and maps in each other");
}

void Rendering::print(std::string_view text) {
  if (out.size() + text.size() > options.limits.printedBytes) wrong("too much comes of it");
  out += text;
}

Rendering::Flow Rendering::walk(const Block& block, const Value& dot) {
  Level level(*this);
  for (auto& one : block.nodes) {
    auto flow = node(one, dot);
    if (flow != Flow::NEXT) return flow;
  }
  return Flow::NEXT;
}

Rendering::Flow Rendering::node(const Node& node, const Value& dot) {
  at = node.at;
  step();
  switch (node.kind) {
    case Node::Kind::TEXT:
      print(node.text);
      return Flow::NEXT;
    case Node::Kind::ACTION: {
      auto value = pipeline(*node.pipeline, dot);
      at = node.at;
      if (node.pipeline->variables.empty()) print(printed(value));
      return Flow::NEXT;
    }
    case Node::Kind::IF:
    case Node::Kind::WITH:
      return choice(node, dot);
    case Node::Kind::RANGE:
      return loop(node, dot);
    case Node::Kind::TEMPLATE:
      callTemplate(node, dot);
      return Flow::NEXT;
    case Node::Kind::BREAK:
      return Flow::BREAK;
    case Node::Kind::CONTINUE:
      return Flow::CONTINUE;
  }
  return Flow::NEXT;
}

Rendering::Flow Rendering::choice(const Node& node, const Value& dot) {
  auto scope = variables.size();
  auto value = pipeline(*node.pipeline, dot);
  auto flow = Flow::NEXT;
  if (value.isTrue()) {
    flow = walk(*node.then, node.kind == Node::Kind::WITH ? value : dot);
  } else if (node.otherwise != nullptr) {
    flow = walk(*node.otherwise, dot);
  }
  variables.resize(scope);
  return flow;
}

Rendering::Flow Rendering::turn(const Node& node, const Value& index, const Value& item) {
  auto scope = variables.size();
  step();
  auto& names = node.pipeline->variables;
  if (node.pipeline->assigns) {
    if (names.size() > 1) assign(names[0], index);
    if (!names.empty()) assign(names.back(), item);
  } else {
    if (names.size() > 1) variables.push_back({names[0], index});
    if (!names.empty()) variables.push_back({names.back(), item});
  }
  auto flow = walk(*node.then, item);
  variables.resize(scope);
  return flow;
}

Rendering::Flow Rendering::loop(const Node& node, const Value& dot) {
  auto scope = variables.size();
  auto value = pipeline(*node.pipeline, dot);
  variables.resize(scope);  // they are made anew in each turn
  at = node.at;
  bool any = false;
  auto go = [&](const Value& index, const Value& item) {
    any = true;
    return turn(node, index, item) != Flow::BREAK;
  };
  switch (value.kind()) {
    case Value::Kind::NIL:
      break;
    case Value::Kind::LIST: {
      int64_t index = 0;
      for (auto& item : value.items().items) {
        if (!go(Value(index++), item)) break;
      }
      break;
    }
    case Value::Kind::MAP:
      for (auto& [key, item] : value.map().entries) {
        auto* number = std::get_if<int64_t>(&key);
        if (!go(number ? Value(*number) : Value(std::get<std::string>(key)), item)) break;
      }
      break;
    case Value::Kind::INT:
    case Value::Kind::UINT:
    case Value::Kind::SPAN: {
      bool span = value.is(Value::Kind::SPAN);
      int64_t first = span ? value.span().first : 0;
      int64_t last = span ? value.span().last : value.asInteger();
      for (int64_t i = first; i < last; ++i) {
        if (!go(Value(i - first), Value(i))) break;
      }
      break;
    }
    default:
      wrong("range cannot go through " + printed(value) + ", which is " + value.typeName());
  }
  if (any || node.otherwise == nullptr) return Flow::NEXT;
  return walk(*node.otherwise, dot);
}

void Rendering::callTemplate(const Node& node, const Value& dot) {
  Value value;
  if (node.pipeline) value = pipeline(*node.pipeline, dot);
  at = node.at;
  body(node.text, value);
}

void Rendering::body(const std::string& name, const Value& dot) {
  auto found = tree.templates.find(name);
  if (found == tree.templates.end()) wrong("there is no template '" + name + "'");
  std::vector<Variable> own = {{"$", dot}};
  std::swap(own, variables);
  walk(found->second, dot);
  std::swap(own, variables);
}

std::string Rendering::execute(const std::string& name, const Value& dot) {
  std::string before;
  std::swap(before, out);
  body(name, dot);
  std::swap(before, out);
  charge(before.size());
  return before;
}

void Rendering::assign(const std::string& name, Value value) {
  auto found = std::find_if(variables.rbegin(), variables.rend(),
                            [&](const Variable& one) { return one.name == name; });
  if (found == variables.rend()) wrong("there is no variable '" + name + "'");
  found->value = std::move(value);
}

Value Rendering::pipeline(const Pipeline& pipeline, const Value& dot) {
  Level level(*this);
  Value value;
  const Value* last = nullptr;
  for (auto& one : pipeline.commands) {
    step();
    auto next = command(one, dot, last);
    value = std::move(next);
    last = &value;
  }
  for (auto& name : pipeline.variables) {
    if (pipeline.assigns) {
      at = pipeline.at;
      assign(name, value);
    } else {
      variables.push_back({name, value});
    }
  }
  return value;
}

Value Rendering::command(const Command& command, const Value& dot, const Value* last) {
  auto& first = command.words[0];
  bool plainFunction = first.kind == Operand::Kind::FUNCTION && first.fields.empty();
  if (plainFunction && first.function->run == nullptr) return shortCircuit(command, dot, last);
  std::vector<Value> arguments;
  for (size_t i = 1; i < command.words.size(); ++i) {
    arguments.push_back(operand(command.words[i], dot));
  }
  if (last != nullptr) arguments.push_back(*last);
  at = first.at;
  if (plainFunction) return call(first, std::move(arguments));
  if (!first.fields.empty()) {
    auto from = start(first, dot);
    at = first.at;
    return chain(std::move(from), first, std::move(arguments));
  }
  if (first.kind == Operand::Kind::NIL) wrong("nil alone means nothing");
  if (!arguments.empty()) wrong("arguments are given to what is no function");
  return start(first, dot);
}

// `and` and `or` give the argument that decides; what stands behind it is not worked out.
Value Rendering::shortCircuit(const Command& command, const Value& dot, const Value* last) {
  bool isOr = std::string_view(command.words[0].function->name) == "or";
  size_t count = command.words.size() - 1 + (last != nullptr ? 1 : 0);
  at = command.at;
  if (count == 0) wrong(std::string(isOr ? "or" : "and") + " wants arguments");
  Value value;
  for (size_t i = 1; i <= count; ++i) {
    value = i < command.words.size() ? operand(command.words[i], dot) : *last;
    if (value.isTrue() == isOr) break;
  }
  return value;
}

Value Rendering::operand(const Operand& operand, const Value& dot) {
  at = operand.at;
  auto value = start(operand, dot);
  at = operand.at;
  return operand.fields.empty() ? value : chain(std::move(value), operand, {});
}

// Without its fields.
Value Rendering::start(const Operand& operand, const Value& dot) {
  switch (operand.kind) {
    case Operand::Kind::DOT:
    case Operand::Kind::FIELDS:
      return dot;
    case Operand::Kind::NIL:
      return Value();
    case Operand::Kind::CONSTANT:
      return operand.constant;
    case Operand::Kind::VARIABLE: {
      auto found = std::find_if(variables.rbegin(), variables.rend(),
                                [&](const Variable& one) { return one.name == operand.variable; });
      if (found == variables.rend()) wrong("there is no variable '" + operand.variable + "'");
      return found->value;
    }
    case Operand::Kind::FUNCTION:
      return call(operand, {});
    case Operand::Kind::BRACKETS:
      return pipeline(*operand.brackets, dot);
  }
  return Value();
}

Value Rendering::call(const Operand& operand, std::vector<Value> arguments) {
  auto& function = *operand.function;
  auto refused = refusedArguments(function, arguments);
  if (!refused.empty()) wrong(refused);
  if (function.run == nullptr) wrong(std::string(function.name) + " wants arguments");
  Call one{function.name, std::move(arguments), *this};
  auto value = function.run(one);
  if (value.is(Value::Kind::STRING)) charge(value.text().size());
  checkDepth(value);
  return value;
}

Value Rendering::chain(Value from, const Operand& operand, std::vector<Value> arguments) {
  Value value = std::move(from);
  // Of what is nothing itself every field is nothing; of a field that is nil there are none.
  bool nothing = value.isNil();
  auto& names = operand.fields;
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    auto next = field(value, names[i], nothing, {});
    value = std::move(next);
  }
  return field(value, names.back(), nothing, std::move(arguments));
}

Value Rendering::field(const Value& of, const std::string& name, bool nothing,
                       std::vector<Value> arguments) {
  Call one{name.c_str(), std::move(arguments), *this};
  if (of.is(Value::Kind::OBJECT)) return of.object().method(name, one);
  if (of.is(Value::Kind::LIST) && of.items().tags && name == "Contains") {
    if (one.size() != 1) wrong("Contains wants one argument");
    return isIn(of, one.arguments[0]);
  }
  if (one.size() > 0) wrong("arguments are given to '" + name + "', which is no function");
  switch (of.kind()) {
    case Value::Kind::STRUCT:
      if (auto* found = of.fields().find(name)) return *found;
      break;
    case Value::Kind::MAP:
      if (auto* found = of.map().find(name)) return *found;
      if (options.failsOnMissingKey) wrong("the map has no key '" + name + "'");
      return of.map().none;
    case Value::Kind::NIL:
      if (options.failsOnMissingKey) wrong("there is no value, so it has no '" + name + "'");
      if (nothing) return Value();
      wrong("what stands before '." + name + "' is nil");
    default:
      break;
  }
  wrong("there is no field '" + name + "' in " + of.typeName());
}

std::string render(const Tree& tree, World& world, const RenderOptions& options) {
  return Rendering(tree, world, options).run();
}

void Call::wrong(const std::string& why) const {
  rendering.wrong(std::string(function) + ": " + why);
}
World& Call::world() const { return rendering.world(); }

}  // namespace orch::integration::templates
