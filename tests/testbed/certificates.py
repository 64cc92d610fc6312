"""Certificates of a cluster, and of nobody, for tests of who is let in."""
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Authority:
    """Signs with the openssl command."""

    def __init__(self, certificate, key):
        self.certificate = certificate
        self.key = key

    @staticmethod
    def make(folder, name, days=30):
        base = f"{folder}/{name}"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(days),
                "-subj", f"/O=orch/CN={name}", "-keyout", f"{base}.key", "-out", f"{base}.pem")
        return Authority(f"{base}.pem", f"{base}.key")

    @staticmethod
    def ofCluster(manager, folder):
        """The cluster's own, from the manager's disk: a header with a checksum, then PEM."""
        with open(f"{manager.host.root()}/var/lib/orch/control.manager.authority", "rb") as file:
            text = file.read()
        path = f"{folder}/cluster.pem"
        with open(path, "wb") as file:
            file.write(text[text.index(b"-----BEGIN"):])
        return Authority(path, path)

    def sign(self, folder, name, unit, identity, days=1, names="DNS:worker.orch"):
        """(certificate, key) of somebody, as files; beside them, `NAME.csr` is what was asked for."""
        base = f"{folder}/{name}"
        with open(f"{base}.ext", "w") as file:
            file.write(f"subjectAltName={names}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=nobody",
                "-keyout", f"{base}.key", "-out", f"{base}.csr")
        openssl("x509", "-req", "-in", f"{base}.csr", "-subj", f"/O=orch/OU={unit}/CN={identity}", "-CA", self.certificate,
                "-CAkey", self.key, "-days", str(days), "-extfile", f"{base}.ext", "-out", f"{base}.pem")
        return f"{base}.pem", f"{base}.key"

    def signFor(self, folder, request, unit, identity, start, end, names="DNS:worker.orch"):
        """A certificate, in PEM, for a request in PEM; valid between two moments."""
        with open(f"{folder}/ca.conf", "w") as file:
            file.write(f"[ca]\ndefault_ca = own\n[own]\ndatabase = {folder}/index\nnew_certs_dir = {folder}\nrand_serial = yes\n"
                       "default_md = sha256\nunique_subject = no\npolicy = any\n"
                       "[any]\norganizationName = optional\norganizationalUnitName = optional\ncommonName = optional\n")
        open(f"{folder}/index", "w").close()
        for name, text in (("asked.csr", request), ("names", f"subjectAltName={names}\n")):
            with open(f"{folder}/{name}", "w") as file:
                file.write(text)
        moment = "%Y%m%d%H%M%SZ"
        openssl("ca", "-batch", "-notext", "-config", f"{folder}/ca.conf", "-in", f"{folder}/asked.csr", "-cert", self.certificate,
                "-keyfile", self.key, "-subj", f"/O=orch/OU={unit}/CN={identity}", "-preserveDN", "-extfile", f"{folder}/names",
                "-startdate", start.strftime(moment), "-enddate", end.strftime(moment), "-out", f"{folder}/signed.pem")
        with open(f"{folder}/signed.pem") as file:
            return file.read()
