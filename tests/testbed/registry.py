"""Debian's docker-registry on a host, with images of tests/testbed/make-image."""
import hashlib
import io
import json
import os
import subprocess
import tarfile

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PORT = 5000


class Registry:
    """Answers on the host's loopback, or at another of its addresses, until `stop`. With `passwords`, lines of
    htpasswd, it asks for a login; `login`, `user:password`, is of who pushes."""

    def __init__(self, host, ip="127.0.0.1", passwords="", login=""):
        self.host = host
        self.address = f"{ip}:{PORT}"
        self.login = login
        self.log = f"{host.folder}/registry-{ip}.log"
        config = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": f"{host.folder}/registry"}},
                  "http": {"addr": self.address}}
        if passwords:
            with open(f"{host.folder}/passwords", "w") as file:
                file.write(passwords)
            config["auth"] = {"htpasswd": {"realm": "test", "path": f"{host.folder}/passwords"}}
        with open(f"{host.folder}/registry.yml", "w") as file:
            json.dump(config, file)  # which is YAML too
        self.pid, _ = host.spawn(["env", "OTEL_TRACES_EXPORTER=none", "docker-registry", "serve",
                                  f"{host.folder}/registry.yml"], self.log)

    def answers(self):
        with open(self.log) as file:
            return "listening on " in file.read()

    def push(self, version, name):
        """web:`version` as `name`."""
        folder = f"{self.host.folder}/layout-{version}"
        if not os.path.exists(folder):
            writeLayout(version, folder)
        login = [f"--dest-creds={self.login}"] if self.login else []
        self.host.run("skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", *login, f"oci:{folder}",
                      f"docker://{name}", check=True)

    def stop(self):
        """Stopped already is success."""
        if self.pid:
            self.host.run("kill", "-9", str(self.pid), check=True)
        self.pid = None


def writeLayout(version, folder, noise=0, count=1):
    """web:`version`; above its layer come others with a file each, until it has `count` of them, and one of so many
    random bytes if `noise` is set. The digits of the layers' digests."""
    blobs = f"{folder}/blobs/sha256"
    os.makedirs(blobs)

    def put(kind, data):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{blobs}/{digest}", "wb") as file:
            file.write(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    tar = f"{folder}/layer.tar"
    subprocess.run([f"{REPOSITORY}/tests/testbed/make-image", str(version), tar], check=True)
    with open(tar, "rb") as file:
        layers = [put("layer.v1.tar", file.read())]
    os.remove(tar)
    contents = {f"layer-{number}": f"{number}".encode() for number in range(1, count)}
    if noise:
        contents["noise"] = os.urandom(noise)
    for name, content in contents.items():
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        layers.append(put("layer.v1.tar", stream.getvalue()))
    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}}
    manifest = {"schemaVersion": 2, "config": put("config.v1+json", json.dumps(config).encode()), "layers": layers}
    index = {"schemaVersion": 2, "manifests": [put("manifest.v1+json", json.dumps(manifest).encode())]}
    for name, content in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
        with open(f"{folder}/{name}", "w") as file:
            json.dump(content, file)
    return [layer["digest"].partition(":")[2] for layer in layers]
