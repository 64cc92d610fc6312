#include <algorithm>

#include "language/functions.h"
#include "language/tree.h"

namespace orch::integration::templates {

namespace {

using Type = Token::Kind;

// Of blocks and brackets in each other: each takes some of the stack.
constexpr unsigned MOST_NESTED = 200;

class Parser final {
 public:
  Parser(Tree& tree, std::vector<Token> tokens) : tree(tree), tokens(std::move(tokens)) {}

  void run() {
    for (;;) {
      auto& token = peek();
      if (token.kind == Type::END) return;
      if (token.kind == Type::LEFT && keyword() == "define") {
        define();
      } else {
        auto stop = oneNode(tree.root);
        if (!stop.empty()) wrong(token.at, "{{" + stop + "}} without a beginning");
      }
    }
  }

 private:
  class Level final {
   public:
    Level(Parser& parser, Position at) : parser(parser) {
      if (++parser.depth > MOST_NESTED) parser.wrong(at, "there is too much in each other");
    }
    ~Level() { --parser.depth; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Parser& parser;
  };

  [[noreturn]] void wrong(Position at, const std::string& why) { failAt(tree.name, at, why); }

  const Token& peek() const { return tokens[at]; }
  const Token& next() { return tokens[at == tokens.size() - 1 ? at : at++]; }
  const Token& peekWord() {
    while (peek().kind == Type::SPACE) ++at;
    return peek();
  }
  const Token& nextWord() {
    peekWord();
    return next();
  }
  // The word that the action at hand begins with.
  std::string_view keyword() const {
    size_t word = at + 1;
    while (tokens[word].kind == Type::SPACE) ++word;
    return tokens[word].kind == Type::WORD ? std::string_view(tokens[word].text) : "";
  }
  static std::string shown(const Token& token) {
    if (token.kind == Type::RIGHT) return "the end of the action";
    if (token.kind == Type::END) return "the end of the template";
    if (token.kind == Type::FIELD) return "'." + token.text + "'";
    return "'" + token.text + "'";
  }
  void expectRight(const char* context) {
    auto& token = nextWord();
    if (token.kind != Type::RIGHT) {
      wrong(token.at, shown(token) + " is not expected in " + context);
    }
  }

  // Up to `end` or `else`, which it returns.
  std::string block(Block& into, Position begin) {
    Level level(*this, begin);
    for (;;) {
      if (peek().kind == Type::END) wrong(begin, "{{end}} is missing");
      auto stop = oneNode(into);
      if (!stop.empty()) return stop;
    }
  }
  // `end` or `else` if that is what comes; else empty.
  std::string oneNode(Block& into) {
    auto& token = next();
    if (token.kind == Type::TEXT) {
      into.nodes.push_back({Node::Kind::TEXT, token.at, token.text, {}, nullptr, nullptr});
      return {};
    }
    auto& word = peekWord();
    if (word.kind == Type::WORD) {
      Position begin = token.at;
      auto& text = word.text;
      if (text == "end") return ++at, expectRight("end"), "end";
      if (text == "else") return ++at, "else";
      if (text == "if") return ++at, control(into, Node::Kind::IF, begin), "";
      if (text == "with") return ++at, control(into, Node::Kind::WITH, begin), "";
      if (text == "range") return ++at, control(into, Node::Kind::RANGE, begin), "";
      if (text == "template") return ++at, call(into, begin), "";
      if (text == "block") return ++at, blockAction(into, begin), "";
      if (text == "break") return ++at, leave(into, Node::Kind::BREAK, begin), "";
      if (text == "continue") return ++at, leave(into, Node::Kind::CONTINUE, begin), "";
      if (text == "define") wrong(begin, "{{define}} stands in no other block");
    }
    Node node{Node::Kind::ACTION, token.at, {}, {}, nullptr, nullptr};
    node.pipeline = pipeline("the action", Type::RIGHT);
    into.nodes.push_back(std::move(node));
    return {};
  }

  void leave(Block& into, Node::Kind kind, Position begin) {
    const char* name = kind == Node::Kind::BREAK ? "break" : "continue";
    expectRight(name);
    if (ranges == 0) wrong(begin, std::string("{{") + name + "}} outside of a {{range}}");
    into.nodes.push_back({kind, begin, {}, {}, nullptr, nullptr});
  }

  static const char* nameOf(Node::Kind kind) {
    return kind == Node::Kind::IF ? "if" : kind == Node::Kind::WITH ? "with" : "range";
  }
  void control(Block& into, Node::Kind kind, Position begin) {
    Level level(*this, begin);
    auto scope = variables.size();
    Node node{kind, begin, {}, {}, std::make_shared<Block>(), nullptr};
    node.pipeline = pipeline(nameOf(kind), Type::RIGHT);
    bool range = kind == Node::Kind::RANGE;
    ranges += range ? 1 : 0;
    auto stop = block(*node.then, begin);
    ranges -= range ? 1 : 0;
    if (stop == "else") {
      node.otherwise = std::make_shared<Block>();
      auto& word = peekWord();
      bool chained = word.kind == Type::WORD && !range && word.text == nameOf(kind);
      if (chained) {
        // `else if` is an `if` in the `else`, and the one `end` ends both.
        ++at;
        control(*node.otherwise, kind, word.at);
      } else {
        expectRight("else");
        if (block(*node.otherwise, begin) == "else") wrong(begin, "there is {{else}} twice");
      }
    }
    variables.resize(scope);
    into.nodes.push_back(std::move(node));
  }

  // The name of a template, in quotes.
  std::string templateName(const char* context) {
    auto& token = nextWord();
    if (token.kind != Type::CONSTANT || !token.constant.is(Value::Kind::STRING)) {
      wrong(token.at,
            std::string("the name of a template, in quotes, is missing after ") + context);
    }
    return token.constant.text();
  }
  void call(Block& into, Position begin) {
    Node node{Node::Kind::TEMPLATE, begin, templateName("template"), {}, nullptr, nullptr};
    if (peekWord().kind == Type::RIGHT) {
      ++at;
    } else {
      node.pipeline = pipeline("template", Type::RIGHT);
    }
    into.nodes.push_back(std::move(node));
  }
  void define() {
    auto begin = next().at;
    nextWord();
    auto name = templateName("define");
    expectRight("define");
    body(name, begin);
  }
  void blockAction(Block& into, Position begin) {
    Node node{Node::Kind::TEMPLATE, begin, templateName("block"), {}, nullptr, nullptr};
    node.pipeline = pipeline("block", Type::RIGHT);
    body(node.text, begin);
    into.nodes.push_back(std::move(node));
  }
  // A template knows no variables but its own.
  void body(const std::string& name, Position begin) {
    std::vector<std::string> outside = {"$"};
    std::swap(outside, variables);
    unsigned outsideRanges = 0;
    std::swap(outsideRanges, ranges);
    Block content;
    if (block(content, begin) == "else") wrong(begin, "{{else}} belongs to no {{if}}");
    std::swap(outside, variables);
    std::swap(outsideRanges, ranges);
    if (isEmpty(content) && tree.templates.count(name) > 0) return;
    auto& known = tree.templates[name];
    if (!isEmpty(known)) wrong(begin, "the template '" + name + "' is defined twice");
    known = std::move(content);
  }
  static bool isEmpty(const Block& block) {
    return std::all_of(block.nodes.begin(), block.nodes.end(), [](const Node& node) {
      return node.kind == Node::Kind::TEXT &&
             node.text.find_first_not_of(" \t\r\n") == std::string::npos;
    });
  }

  Pipeline pipeline(const char* context, Type end) {
    Pipeline result;
    result.at = peekWord().at;
    declarations(result, context);
    for (;;) {
      auto& token = peekWord();
      if (token.kind == end && !result.commands.empty() && !piped()) {
        ++at;
        return result;
      }
      if (token.kind == Type::RIGHT || token.kind == Type::CLOSE || token.kind == Type::END) {
        wrong(token.at, std::string("a value is missing in ") + context);
      }
      result.commands.push_back(command());
      auto& words = result.commands.back().words;
      if (result.commands.size() > 1 && isPlain(words[0])) {
        wrong(words[0].at, "what follows '|' has to be a function");
      }
    }
  }
  // Whether the word before was `|`.
  bool piped() const {
    size_t before = at;
    while (before > 0 && tokens[before - 1].kind == Type::SPACE) --before;
    return before > 0 && tokens[before - 1].kind == Type::PIPE;
  }
  static bool isPlain(const Operand& operand) {
    return operand.kind == Operand::Kind::DOT || operand.kind == Operand::Kind::NIL ||
           operand.kind == Operand::Kind::CONSTANT;
  }
  // `$x := `, `$i, $x := ` and the same with `=`.
  void declarations(Pipeline& result, const char* context) {
    size_t begin = at;
    std::vector<std::string> names;
    while (peekWord().kind == Type::VARIABLE) {
      names.push_back(next().text);
      auto& token = peekWord();
      if (token.kind == Type::DECLARE || token.kind == Type::ASSIGN) {
        ++at;
        result.assigns = token.kind == Type::ASSIGN;
        for (auto& name : names) variables.push_back(name);
        result.variables = std::move(names);
        return;
      }
      if (token.kind != Type::COMMA) break;
      bool range = std::string_view(context) == "range";
      if (!range || names.size() > 1) {
        wrong(token.at, std::string("too many variables in ") + context);
      }
      ++at;
      if (peekWord().kind != Type::VARIABLE) {
        wrong(peek().at, "range gives its values to variables only");
      }
    }
    if (names.size() > 1) wrong(peek().at, "':=' is missing");
    at = begin;
  }

  Command command() {
    Command result;
    result.at = peekWord().at;
    for (;;) {
      auto& first = peekWord();
      bool ends = first.kind == Type::RIGHT || first.kind == Type::CLOSE || first.kind == Type::END;
      if (ends || first.kind == Type::PIPE) break;
      result.words.push_back(operand());
      auto& after = peek();
      bool separate = after.kind == Type::SPACE || after.kind == Type::RIGHT ||
                      after.kind == Type::CLOSE || after.kind == Type::PIPE;
      if (!separate) wrong(after.at, shown(after) + " is not expected here");
    }
    if (result.words.empty()) wrong(result.at, "a command is missing");
    if (peek().kind == Type::PIPE) ++at;
    return result;
  }

  Operand operand() {
    Operand result = term();
    if (peek().kind != Type::FIELD) return result;
    if (isPlain(result) && result.kind != Operand::Kind::DOT) {
      wrong(peek().at, shown(peek()) + " follows what has no fields");
    }
    if (result.kind == Operand::Kind::DOT) wrong(peek().at, "'..' is not understood");
    while (peek().kind == Type::FIELD) result.fields.push_back(next().text);
    return result;
  }
  Operand term() {
    auto& token = next();
    Operand result;
    result.at = token.at;
    switch (token.kind) {
      case Type::DOT:
        break;
      case Type::FIELD:
        result.kind = Operand::Kind::FIELDS;
        result.fields.push_back(token.text);
        break;
      case Type::VARIABLE:
        result.kind = Operand::Kind::VARIABLE;
        result.variable = token.text;
        if (std::find(variables.begin(), variables.end(), token.text) == variables.end()) {
          wrong(token.at, "there is no variable '" + token.text + "'");
        }
        break;
      case Type::CONSTANT:
        result.kind = Operand::Kind::CONSTANT;
        result.constant = token.constant;
        break;
      case Type::WORD:
        word(token, result);
        break;
      case Type::OPEN: {
        Level level(*this, token.at);
        result.kind = Operand::Kind::BRACKETS;
        result.brackets = std::make_shared<Pipeline>(pipeline("brackets", Type::CLOSE));
        break;
      }
      default:
        wrong(token.at, shown(token) + " is not expected here");
    }
    return result;
  }
  void word(const Token& token, Operand& result) {
    bool truth = token.text == "true";
    if (truth || token.text == "false") {
      result.kind = Operand::Kind::CONSTANT;
      result.constant = Value(truth);
    } else if (token.text == "nil") {
      result.kind = Operand::Kind::NIL;
    } else {
      result.kind = Operand::Kind::FUNCTION;
      result.function = findFunction(token.text);
      if (result.function == nullptr) {
        wrong(token.at, "there is no function '" + token.text + "'" + nearestFunction(token.text));
      }
    }
  }

  Tree& tree;
  std::vector<Token> tokens;
  std::vector<std::string> variables = {"$"};
  size_t at = 0;
  unsigned depth = 0;
  unsigned ranges = 0;  // that the place is in
};

}  // namespace

Tree parse(const std::string& name, std::string_view text, const Delimiters& delimiters) {
  Tree tree;
  tree.name = name;
  Parser(tree, tokensOf(name, text, delimiters)).run();
  return tree;
}

}  // namespace orch::integration::templates
