"""Helm itself, without a cluster: its own library, driven through the C interface of the package `helm-sdkpy`.

usage: helm.py LIBRARY lint CHART
       helm.py LIBRARY template CHART VALUES KUBERNETES-VERSION    (VALUES: JSON)
       helm.py LIBRARY install CHART VALUES KUBERNETES-VERSION
       helm.py LIBRARY package CHART FOLDER

`install` prints JSON, {"manifest", "notes"}; it is a real install into a server that has every kind the chart may use,
knows no object, and says yes to all it is given. Not a cluster: nothing here checks objects against a Kubernetes schema.
`template` leaves out the chart's CRDs, which are not rendered: Helm waits for two seconds until their kinds are served.
"""

import ctypes
import http.server
import json
import os
import shutil
import sys
import tempfile
import threading

NAMESPACE = "nodeway-system"
RESOURCES = {
    "v1": [("serviceaccounts", "ServiceAccount", True), ("configmaps", "ConfigMap", True)],
    "apps/v1": [("daemonsets", "DaemonSet", True)],
    "rbac.authorization.k8s.io/v1": [
        ("clusterroles", "ClusterRole", False),
        ("clusterrolebindings", "ClusterRoleBinding", False),
        ("roles", "Role", True),
        ("rolebindings", "RoleBinding", True),
    ],
    "networking.k8s.io/v1": [("networkpolicies", "NetworkPolicy", True)],
    "monitoring.coreos.com/v1": [("podmonitors", "PodMonitor", True)],
    "apiextensions.k8s.io/v1": [("customresourcedefinitions", "CustomResourceDefinition", False)],
}


def group(name):
    version = {"groupVersion": name, "version": name.split("/")[1]}
    return {"name": name.split("/")[0], "versions": [version], "preferredVersion": version}


def resources(group_version):
    named = [
        {"name": plural, "kind": kind, "namespaced": namespaced, "verbs": ["create", "get"]}
        for plural, kind, namespaced in RESOURCES[group_version]
    ]
    return {"kind": "APIResourceList", "groupVersion": group_version, "resources": named}


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write an answer: two would wait for each other's acknowledgement (Nagle), 40 ms every time.
    wbufsize = -1
    kubernetes = "v1.32.0"
    definitions = {}

    def log_message(self, *_):
        pass

    def answer(self, code, kind, body):
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0].strip("/")
        # /api/v1 or /apis/GROUP/VERSION
        group_version = path.split("/", 1)[-1]
        code = 200
        if path == "version":
            major, minor = self.kubernetes.lstrip("v").split(".")[:2]
            said = {"major": major, "minor": minor, "gitVersion": self.kubernetes}
        elif path == "api":
            said = {"kind": "APIVersions", "versions": ["v1"]}
        elif path == "apis":
            groups = [group(name) for name in RESOURCES if "/" in name]
            said = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        elif group_version in RESOURCES:
            said = resources(group_version)
        elif path.rsplit("/", 1)[-1] in self.definitions:
            said = json.loads(self.definitions[path.rsplit("/", 1)[-1]])
        else:
            code = 404
            said = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
            said.update(reason="NotFound", code=404, message="not found")
        self.answer(code, "application/json", json.dumps(said).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path.split("?")[0].endswith("/customresourcedefinitions"):
            said = json.loads(body)
            # Helm goes on when the new kind is served.
            served = [{"type": kind, "status": "True"} for kind in ("NamesAccepted", "Established")]
            said["status"] = {"conditions": served}
            body = json.dumps(said).encode()
            Server.definitions[said["metadata"]["name"]] = body
        self.answer(201, self.headers["content-type"], body)


class Helm:
    def __init__(self, library, kubeconfig):
        self.library = ctypes.CDLL(library)
        self.library.helm_sdkpy_last_error.restype = ctypes.c_char_p
        self.handle = ctypes.c_ulonglong()
        create = self.library.helm_sdkpy_config_create
        self.check(create(NAMESPACE.encode(), kubeconfig.encode(), None, b"{}", ctypes.byref(self.handle)))

    def check(self, code):
        if code != 0:
            sys.exit(self.library.helm_sdkpy_last_error().decode())

    def call(self, function, *arguments):
        said = ctypes.c_char_p()
        arguments = [argument.encode() for argument in arguments]
        self.check(getattr(self.library, function)(self.handle, *arguments, ctypes.byref(said)))
        return said.value.decode()


def install(helm, chart, values):
    options = json.dumps({"wait": False, "timeout_seconds": 20, "disable_openapi_validation": True})
    said = json.loads(helm.call("helm_sdkpy_install", "nodeway", chart, values, "", options))
    print(json.dumps({"manifest": said["manifest"], "notes": said["info"].get("notes", "")}))


def lint(helm, chart):
    said = json.loads(helm.call("helm_sdkpy_lint", chart))
    # 1 is information (there is no icon), 2 a warning, 3 an error. Their texts do not pass this interface.
    bad = [message for message in said["Messages"] if message["Severity"] > 1]
    if bad or said["Errors"]:
        sys.exit(f"helm lint: {said}")
    print(f"helm lint: {said['TotalChartsLinted']} chart, nothing to mend")


def main():
    library, command, chart, *rest = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        # Nothing of this user's own Helm is read or written.
        for name in ("CACHE", "CONFIG", "DATA"):
            os.environ[f"HELM_{name}_HOME"] = os.path.join(scratch, name)
        os.environ["HELM_DRIVER"] = "memory"
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        if command in ("template", "install"):
            Server.kubernetes = rest.pop()
        if command == "template":
            without = os.path.join(scratch, "chart")
            chart = shutil.copytree(chart, without, ignore=shutil.ignore_patterns("crds"))
        cluster = {"server": f"http://127.0.0.1:{server.server_address[1]}"}
        kubeconfig = os.path.join(scratch, "kubeconfig")
        with open(kubeconfig, "w", encoding="utf-8") as file:
            json.dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "none", "cluster": cluster}],
                    "users": [{"name": "none", "user": {}}],
                    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
                    "current-context": "none",
                },
                file,
            )
        helm = Helm(library, kubeconfig)
        if command in ("template", "install"):
            install(helm, chart, *rest)
        elif command == "lint":
            lint(helm, chart)
        elif command == "package":
            print(helm.call("helm_sdkpy_package", chart, *rest))
        else:
            sys.exit(__doc__)


main()
