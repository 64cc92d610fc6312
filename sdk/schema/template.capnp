@0xe96d1f5705925b85;
# The service of `integration.template`: files that it keeps up from templates, and templates that are rendered once.

using Cxx = import "/capnp/c++.capnp";
using Objects = import "objects.capnp";
using Plugin = import "plugin.capnp";
$Cxx.namespace("orch::schema");

interface Templates {
  render @0 (name :Text, text :Text, variables :List(Objects.KeyValue)) -> (text :Text) $Plugin.longRunning;
  # What comes of the template `text` (at most 1 MiB), as soon as all that it asks for has been answered: a key that
  # there is not is waited for. `name` is what errors call it, `NAME:LINE:COLUMN: WHY`; `variables` are what `env`
  # finds. Files that it reads are those of the plugin's host. Writes nothing. Fails with what is wrong with it, or
  # with who does not answer.

  list @1 () -> (templates :List(TemplateStatus));
  # In the order of the settings.
}

struct TemplateStatus {
  enum State {
    waiting @0;                      # for answers
    rendered @1;                     # the file is as it has to be
    failed @2;                       # the file is as it was, or what is run after a change has failed
  }
  source @0 :Text;                   # the template
  destination @1 :Text;              # the file
  state @2 :State;
  reason @3 :Text;                   # why it waits or has failed, or who does not answer any more
  renderedAtNs @4 :Int64;            # when the file was last changed; 0: not since the plugin started
}
