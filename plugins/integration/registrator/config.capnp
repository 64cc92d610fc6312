@0x8bb3f01b0d12a527;
using Cxx = import "/capnp/c++.capnp";
using Settings = import "/orch/schema/settings.capnp";
$Cxx.namespace("orch::integration::registrator");

struct Config {
  registry @0 :Text = "consul://127.0.0.1:8500";
  # Where services are registered, as gliderlabs/registrator has it: `consul://host:port`, the agent of consul that this host's services
  # belong to, `consulkv://host:port/path`, `etcd://host:port,host:port/path`, `skydns2://host:port,host:port/domain` or
  # `zookeeper://host:port,host:port/path`. Over TLS with `consul-tls://` and the like, or with one of the three files below.

  caFile @1 :Text;
  # PEM: who signs the certificate of the registry. Empty: those that the system trusts.

  certFile @2 :Text;
  # PEM: what this node shows a registry that asks for a certificate.

  keyFile @3 :Text;
  # PEM: the key of `certFile`.

  tokenFile @4 :Text;
  # File whose first line is an ACL token that may write services. Empty: the anonymous one's rights.

  timeoutMs @5 :UInt32 = 2000 $Settings.least(100) $Settings.most(600000);
  # A request that is not answered in time has failed, and is made again.

  address @6 :Text;
  # That others reach the published ports of this node at (-ip). Empty: the address that the node has in its cluster, else the
  # first of the host.

  addresses @7 :Text = "published";
  # `published`: ports that are published, at the node's address. `internal`: ports of containers, those that their images expose
  # too, at the containers' addresses (-internal).

  addressLabel @8 :Text;
  # A label of containers with the address that they are to be registered with (-useIpFromLabel).

  explicit @9 :Bool;
  # Only what has a SERVICE_NAME (-explicit).

  tags @10 :List(Text);
  # Of every service, beside its own (-tags).

  deregister @11 :Text = "always";
  # `always`: what has ended is taken out. `on-success`: what has failed stays until the task is forgotten (-deregister).

  cleanup @12 :Bool = true;
  # What this node has registered and does not run, as after a crash, is taken out; never what others have registered (-cleanup).

  resyncMs @13 :UInt32 = 30000;
  # How often the registry is looked at: what is not there any more, or is another, is registered again (-resync). 0: only after it
  # could not be reached.

  ttlMs @14 :UInt64;
  # A service whose node has not told of it for so long is critical, and a minute later gone (-ttl); told of three times as often. 0: it
  # stays until somebody takes it out. In a ZooKeeper all go with this node's session, which lasts so long, or 40 s.

  scripts @15 :Bool;
  # SERVICE_CHECK_SCRIPT is handed on: consul's agent runs it on its host, if it is set up to. Whoever may start a container
  # may run programs there then.

  feed @16 :Text = "tasks";
  # Who is asked for tasks: the service of this node's agent.

  image @17 :Text = "image.oci";
  # Who is asked what containers have of their images: SERVICE_… in the environment or the labels of an image, and its ports.

  user @18 :Text;
  # Who this node is to a ZooKeeper, by the scheme `digest`, or to an etcd with `auth enable`: a user with a role that may read and write below the path and below
  # `/orch/registrator`.

  passwordFile @19 :Text;
  # File with the password of `user`, in its first line.

  noticeMs @20 :UInt32 = 500;
  # A task that is taken out is drained and stopped so long after that: who goes by the registry has until then to notice.

  api @21 :Text = "agent";
  # Of consul. `agent`: services are those of the agent that `registry` names, which checks them. `catalog`: those of a node of
  # consul's that has no agent, `orch-` and the host's name; any server of consul may be asked, several with commas between them. Nobody
  # makes their checks then.
}
