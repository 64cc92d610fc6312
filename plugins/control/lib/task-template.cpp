#include "lib/task-template.h"

#include <cstring>
#include <string>

#include "orch/fail.h"
#include "orch/template-syntax.h"

namespace orch::control {

namespace {

constexpr size_t MOST_BYTES = 64 << 10;  // of one text, or of all of a spec
constexpr size_t MOST_STEPS = 10'000;

class TaskLanguage final : public TemplateLanguage {
 public:
  // A text, or one of the things that have names in them.
  struct Value {
    enum Kind { TEXT, WHOLE, SERVICE, LABELS, NODE, PLATFORM, TASK } kind = TEXT;
    std::string text;
  };

  TaskLanguage(kj::StringPtr what, kj::StringPtr source, const TemplateFacts& facts)
      : what(what), source(source), facts(facts) {
    mostSteps = MOST_STEPS;
  }

  [[noreturn]] void wrong(kj::StringPtr why) {
    fail(kj::str("usage: ", what, " '", source, "' has a template that cannot be filled in: ", why,
                 ", at column ", column, "; {{\"{{\"}} stands for {{ itself"));
  }
  Value text(kj::StringPtr text) { return {Value::TEXT, std::string(text.begin(), text.size())}; }
  Value number(kj::StringPtr digits) { return text(digits); }

  Value member(const Value& of, kj::StringPtr name) {
    if (of.kind == Value::LABELS) return label(name);
    struct Known {
      Value::Kind of;
      kj::StringPtr name;
      Value::Kind kind;
      kj::StringPtr text;
    };
    const Known known[] = {{Value::WHOLE, "Service", Value::SERVICE, nullptr},
                           {Value::WHOLE, "Node", Value::NODE, nullptr},
                           {Value::WHOLE, "Task", Value::TASK, nullptr},
                           {Value::SERVICE, "ID", Value::TEXT, facts.serviceId},
                           {Value::SERVICE, "Name", Value::TEXT, facts.serviceName},
                           {Value::SERVICE, "Labels", Value::LABELS, nullptr},
                           {Value::NODE, "ID", Value::TEXT, facts.nodeId},
                           {Value::NODE, "Hostname", Value::TEXT, facts.hostname},
                           {Value::NODE, "Platform", Value::PLATFORM, nullptr},
                           {Value::PLATFORM, "OS", Value::TEXT, facts.os},
                           {Value::PLATFORM, "Architecture", Value::TEXT, facts.architecture},
                           {Value::TASK, "ID", Value::TEXT, facts.taskId},
                           {Value::TASK, "Name", Value::TEXT, facts.taskName},
                           {Value::TASK, "Slot", Value::TEXT, facts.slot}};
    kj::Vector<kj::String> names;
    for (auto& one : known) {
      if (one.of != of.kind) continue;
      if (one.name == name) return {one.kind, std::string(one.text.begin(), one.text.size())};
      names.add(kj::str(".", one.name));
    }
    if (names.size() == 0) wrong(kj::str("there is no '.", name, "' in a text"));
    wrong(kj::str("there is no '.", name, "'; there are ", kj::strArray(names, ", ")));
  }

  Value call(kj::StringPtr function, kj::ArrayPtr<const Value> values) {
    auto texts = KJ_MAP(value, values) { return textOf(value); };
    auto need = [&](size_t count) {
      if (values.size() != count) wrong(kj::str("'", function, "' takes ", count, " values"));
    };
    if (function == "print") return text(kj::str(kj::strArray(texts, "")));
    if (function == "println") return text(kj::str(kj::strArray(texts, " "), "\n"));
    if (function == "join") {
      if (texts.size() == 0) wrong("'join' takes what stands between, and values");
      return text(kj::strArray(texts.slice(1, texts.size()), texts[0].cStr()));
    }
    if (function == "index") {
      need(2);
      if (values[0].kind != Value::LABELS) wrong("'index' takes .Service.Labels and a key");
      return text(find(texts[1]).orDefault(""_kj));
    }
    if (function == "eq" || function == "ne") {
      need(2);
      return text((texts[0] == texts[1]) == (function == "eq") ? "true"_kj : "false"_kj);
    }
    need(1);
    if (function == "len") {
      return text(
          kj::str(values[0].kind == Value::LABELS ? facts.serviceLabels.size() : texts[0].size()));
    }
    return text(inCase(function, kj::mv(texts[0])));
  }

  bool isTrue(const Value& value) {
    if (value.kind == Value::LABELS) return facts.serviceLabels.size() > 0;
    if (value.kind != Value::TEXT) return true;
    return !value.text.empty() && value.text != "false" && value.text != "0";
  }
  // Of labels their values, as in Go.
  kj::Maybe<kj::Array<Value>> items(const Value& value) {
    if (value.kind != Value::LABELS) return nullptr;
    return KJ_MAP(pair, facts.serviceLabels) { return text(pair.getValue()); };
  }
  kj::String textOf(const Value& value) {
    if (value.kind == Value::TEXT) return kj::heapString(value.text.data(), value.text.size());
    if (value.kind != Value::LABELS) wrong("one of the names in it is wanted");
    auto pairs = KJ_MAP(pair, facts.serviceLabels) {
      return kj::str(pair.getKey(), ":", pair.getValue());
    };
    return kj::str("map[", kj::strArray(pairs, " "), "]");
  }

 private:
  kj::Maybe<kj::StringPtr> find(kj::StringPtr key) {
    for (auto pair : facts.serviceLabels) {
      if (pair.getKey() == key) return kj::StringPtr(pair.getValue());
    }
    return nullptr;
  }
  Value label(kj::StringPtr key) {
    KJ_IF_MAYBE (value, find(key)) return text(*value);
    wrong(kj::str("the service has no label '", key, "'"));
  }
  kj::String inCase(kj::StringPtr function, kj::String of) {
    bool upper = function == "upper";
    bool title = function == "title";
    if (!upper && !title && function != "lower") {
      wrong(kj::str("there is no function '", function,
                    "'; there are join, index, eq, ne, len, lower, upper, title, print and "
                    "println"));
    }
    for (size_t i = 0; i < of.size(); ++i) {
      auto c = static_cast<unsigned char>(of[i]);
      if (upper || (title && i == 0)) of[i] = static_cast<char>(std::toupper(c));
      if (function == "lower") of[i] = static_cast<char>(std::tolower(c));
    }
    return of;
  }

  kj::StringPtr what;
  kj::StringPtr source;
  const TemplateFacts& facts;
};

// Only such a text is one.
bool hasTemplate(kj::StringPtr text) { return strstr(text.cStr(), "{{") != nullptr; }

kj::String expand(kj::StringPtr what, kj::StringPtr text, const TemplateFacts& facts, bool all,
                  size_t mostBytes) {
  if (!hasTemplate(text)) return kj::str(text);
  TaskLanguage language(what, text, facts);
  language.checksAll = all;
  language.mostBytes = mostBytes;
  TaskLanguage::Value whole;
  whole.kind = TaskLanguage::Value::WHOLE;
  return TemplateReader<TaskLanguage>(text, language).expand(kj::mv(whole));
}

void expandAll(schema::ContainerSpec::Builder container, const TemplateFacts& facts, bool all) {
  size_t left = MOST_BYTES;
  auto fill = [&](kj::StringPtr what, kj::StringPtr text) {
    auto made = expand(what, text, facts, all, left);
    left -= made.size();
    return made;
  };
  auto env = container.getEnv();
  for (uint32_t i = 0; i < env.size(); ++i) {
    if (hasTemplate(env[i])) env.set(i, fill("the environment variable", env[i]));
  }
  if (hasTemplate(container.getHostname())) {
    container.setHostname(fill("the hostname", container.getHostname()));
  }
  for (auto mount : container.getMounts()) {
    if (hasTemplate(mount.getSource())) {
      mount.setSource(fill("the source of a mount", mount.getSource()));
    }
    if (hasTemplate(mount.getTarget())) {
      mount.setTarget(fill("the target of a mount", mount.getTarget()));
    }
  }
}

}  // namespace

kj::String fillTemplate(kj::StringPtr what, kj::StringPtr text, const TemplateFacts& facts) {
  return expand(what, text, facts, false, MOST_BYTES);
}

void fillTemplates(schema::ContainerSpec::Builder container, const TemplateFacts& facts) {
  expandAll(container, facts, false);
}

bool hasTemplates(schema::ContainerSpec::Reader container) {
  bool any = hasTemplate(container.getHostname());
  for (auto entry : container.getEnv()) any |= hasTemplate(entry);
  for (auto mount : container.getMounts()) {
    any |= hasTemplate(mount.getSource()) || hasTemplate(mount.getTarget());
  }
  return any;
}

void tryTemplates(schema::ContainerSpec::Builder container, kj::StringPtr serviceName,
                  capnp::List<schema::KeyValue>::Reader serviceLabels) {
  constexpr auto ID = "0123456789abcdefghijklmno"_kj;  // as long as they are
  auto name = kj::str(serviceName, ".1.", ID);
  TemplateFacts some{ID,       serviceName, serviceLabels, ID,          "node", "linux",
                     "x86_64", ID,          name,          kj::str("1")};
  expandAll(container, some, true);
}

}  // namespace orch::control
