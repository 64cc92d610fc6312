@0xa195c870a9a432ec;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::integration::templates");

struct Config {
  templates @0 :List(Template);
  # Files that are kept up: a table each, as below.
  consul @1 :List(Text);
  # Addresses of consul's agents or servers, as `http://10.0.0.1:8500` or `https://…`, at most 16; one is
  # asked, and the next when it fails. None: templates ask for nothing but files.
  caFile @2 :Text;
  # PEM: who signs the certificates of consul. Empty: those that the system trusts.
  certFile @3 :Text;
  # PEM: what this node shows a consul with verify_incoming.
  keyFile @4 :Text;
  # PEM: the key of `certFile`.
  tokenFile @5 :Text;
  # File whose first line is an ACL token that may read what the templates ask for. Empty: the anonymous
  # one's rights.
  timeoutMs @6 :UInt64 = 10000 $Settings.least(100) $Settings.most(600000);
  # A connection to consul that takes longer has failed.
  services @7 :Text;
  # Who says which services and nodes there are: `consul`; `orch`, of the whole cluster, on managers; or
  # `node`, orch of this node alone. Empty: consul, if any is named, else orch. Keys are consul's.
  noticeMs @8 :UInt32 = 500 $Settings.most(60000);
  # Where that is orch: a task is stopped so much later than a file without it is in place and `command`
  # was run, so that who reads it has noticed; but for at most 5 s, as `leaveLimitMs` of control.agent.
}

struct Template {
  source @0 :Text;
  # The template: an absolute path. It is read again when it changes.
  destination @1 :Text;
  # The file that is made of it: an absolute path.
  mode @2 :Text;
  # Rights in octal, as `0640`. Empty: as the file has them that is there, else 0644.
  owner @3 :Text;
  # User, by name or number. Empty: as the file has it that is there, else that of orchd.
  group @4 :Text;
  # Group, the same.
  check @5 :List(Text);
  # A program with its arguments, which has to end with 0, or the old file stays: `["nginx", "-t"]`. With
  # `%s` in an argument it is run before the new file is in place, and `%s` is its path; else it is run
  # with the new file in place, and what was there comes back if it fails.
  command @6 :List(Text);
  # A program with its arguments, which is run after each change: `["nginx", "-s", "reload"]`. If it fails,
  # it is run again.
  waitMinMs @7 :UInt64;
  # A change is written when nothing else has changed for so long …
  waitMaxMs @8 :UInt64;
  # … but after this long at the latest. 0: four times `waitMinMs`.
  commandTimeoutMs @9 :UInt64 = 30000;
  # `check` and `command` are ended after as long, and have failed.
  leftDelimiter @10 :Text = "{{";
  # What an action begins with.
  rightDelimiter @11 :Text = "}}";
  # What it ends with.
  failOnMissingKey @12 :Bool = false;
  # A key that a map does not have is an error, and not `<no value>`.
  createFolders @13 :Bool = true;
  # Folders that `destination` is in are made where they are missing.
}
