"""Installs the peers below the build folder, and talks with the contenders' programs."""
import glob
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build"
PROGRAMS = BUILD / "default" / "tests" / "bench"
INSTALLED = BUILD / "bench"
ENVIRONMENT = INSTALLED / "peers"
DEBIAN = INSTALLED / "debian"

# Where peers keep what they compiled between runs; `compile` cases use no cache.
CACHES = INSTALLED / "caches"

# Name, Python packages with their extras, program with its arguments.
PYTHON_PEERS = {
    "jax": (["jax[cpu]", "optax", "pillow"], ["jax_peer.py"]),
    "torch": (["torch", "pillow"], ["torch_peer.py"]),
    "torch_channels_last": (["torch"], ["torch_peer.py", "channels_last"]),
    "torch_compiled": (["torch"], ["torch_peer.py", "compiled"]),
    "tensorflow": (["tensorflow-cpu", "pillow"], ["tensorflow_peer.py"]),
    "tensorflow_xla": (["tensorflow-cpu", "pillow"], ["tensorflow_peer.py", "xla"]),
    "pytensor": (["pytensor"], ["pytensor_peer.py"]),
    "numpy": (["numpy", "scipy"], ["numpy_peer.py"]),
    "casadi": (["numpy", "casadi"], ["casadi_peer.py"]),
    "casadi_c": (["numpy", "casadi"], ["casadi_peer.py", "c"]),
}
# Name, library, Debian packages that hold it.
LIBRARY_PEERS = {
    "openblas": ("libopenblas.so.0", ["libopenblas0-pthread"]),
    "onednn": ("libdnnl.so.2", ["libdnnl2", "ocl-icd-libopencl1"]),
}
# What has its derivatives written by hand, and is built beside ours.
HAND_PEERS = {"by_hand": "kroton_bench_by_hand"}
# Name, Debian package of its headers, a folder that they lie in, program.
HEADER_PEERS = {"eigen": ("libeigen3-dev", "usr/include/eigen3", "eigen.cpp")}
PEERS = [*LIBRARY_PEERS, *PYTHON_PEERS, *HAND_PEERS, *HEADER_PEERS]
# Those that are there for some families of classes only.
FAMILIES = {"numpy": ("ops", "linalg"), "eigen": ("linalg",), "casadi": ("jacobian",),
            "casadi_c": ("jacobian",)}


CONVOLUTIONS = ("conv", "cnn", "vgg", "resnet")


def competes(name, group):
    """The libraries are there for products, loops by hand for published problems, some peers for
    families of classes, the other Python peers for everything else."""
    bench, *family = group.split("/")
    if name in FAMILIES:
        return bench == "classes" and family[0] in FAMILIES[name]
    if name in HAND_PEERS or bench == "published":
        return name in HAND_PEERS and bench == "published"
    if name == "torch_channels_last":
        return bench in CONVOLUTIONS
    return (bench == "gemm") == (name in LIBRARY_PEERS)


WITHOUT_CLASSES = ("tensorflow", "tensorflow_xla", "pytensor")


def lacks(name, bench):
    """Why a peer that competes has none of a bench's cases."""
    if bench == "classes" and name in WITHOUT_CLASSES:
        return "has not the programs of classes"
    if bench == "train" and name in ("torch_compiled", "pytensor"):
        return "has no trainings"
    if bench in CONVOLUTIONS and name == "pytensor":
        return "has no networks of convolutions"
    return None


class Failure(Exception):
    """Why a contender gave no answer."""


class TooSlow(Failure):
    """It gave none in time."""


def quiet(command, **options):
    """Runs it; Failure with the last line it printed if it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", **options)
    except OSError as error:
        raise Failure(str(error)) from error
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines()
        raise Failure(lines[-1] if lines else f"{command[0]} failed")


def find_library(name):
    places = [DEBIAN / "usr/lib/*", DEBIAN / "usr/lib/*/*", "/usr/lib/*", "/usr/lib/*/*"]
    for place in places:
        found = glob.glob(str(pathlib.Path(place) / name))
        if found:
            return found[0]
    return None


def python():
    return str(ENVIRONMENT / "bin" / "python")


def unpack(name, packages):
    """Packages of Debian below the build folder: which BLAS the system uses stays as it is."""
    print(f"bench: fetching {name}", file=sys.stderr)
    DEBIAN.mkdir(parents=True, exist_ok=True)
    quiet(["apt-get", "download", *packages], cwd=DEBIAN)
    for file in DEBIAN.glob("*.deb"):
        quiet(["dpkg", "-x", str(file), str(DEBIAN)])


def compiled(name):
    """The program of a peer that is headers, made again where its text is newer."""
    package, folder, source = HEADER_PEERS[name]
    if not (DEBIAN / folder).exists():
        unpack(name, [package])
    program, texts = INSTALLED / name, [HERE / source, HERE / "serve.cpp"]
    if not program.exists() or any(t.stat().st_mtime > program.stat().st_mtime for t in texts):
        print(f"bench: compiling {name}", file=sys.stderr)
        quiet(["g++", "-std=c++20", "-O2", "-march=native", "-fopenmp", "-isystem",
               str(DEBIAN / folder), *map(str, texts), "-o", str(program)])
    return [str(program)]


def install(name):
    """The command that starts a peer, installed if it is not; Failure says why it cannot be."""
    if name in HEADER_PEERS:
        return compiled(name)
    if name in LIBRARY_PEERS:
        library, packages = LIBRARY_PEERS[name]
        if find_library(library) is None:
            unpack(name, packages)
        found = find_library(library)
        if found is None:
            raise Failure(f"no {library} in {', '.join(packages)}")
        return [str(PROGRAMS / "kroton_bench_blas"), found]
    if name in HAND_PEERS:
        return [str(PROGRAMS / HAND_PEERS[name])]
    packages, program = PYTHON_PEERS[name]
    if not os.path.exists(python()):
        print("bench: making a Python environment", file=sys.stderr)
        quiet([sys.executable, "-m", "venv", str(ENVIRONMENT)])
    # A package is recorded once it and all it needs are there.
    find = "import importlib.metadata, sys; importlib.metadata.distribution(sys.argv[1])"
    for package in packages:
        found = subprocess.run([python(), "-c", find, package.split("[")[0]], check=False,
                               stderr=subprocess.DEVNULL)
        if found.returncode != 0:
            print(f"bench: installing {package}", file=sys.stderr)
            quiet([python(), "-m", "pip", "install", "-q", package])
    return [python(), str(HERE / "peers" / program[0]), *program[1:]]


# The shared libraries that a program which trains on a CPU needs of a peer.
SHIPPED = {
    "torch": ("torch/lib", ("libtorch_cpu.so", "libtorch.so", "libc10.so", "libgomp*.so*")),
    "tensorflow": ("tensorflow", ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")),
}


def shipped_bytes(name):
    """Of the libraries that go with a program of that peer; Failure if they are not there."""
    folder, libraries = SHIPPED[name]
    total = 0
    for library in libraries:
        found = list(ENVIRONMENT.glob(f"lib/python3*/site-packages/{folder}/{library}"))
        if not found and "*" not in library:
            raise Failure(f"there is no {folder}/{library}")
        total += sum(path.stat().st_size for path in found)
    return total


def stripped_bytes(program):
    """Of a copy of `program` without symbols."""
    copy = INSTALLED / program.name
    quiet(["strip", "-o", str(copy), str(program)])
    return copy.stat().st_size


class Contender:
    """A program that answers each command with a line of JSON. It is stopped while it has nothing
    to answer: the idle threads of some wait by spinning, on processors that others then lack."""

    def __init__(self, name, command, threads, log):
        self.name = name
        environment = dict(os.environ)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a slow start each time
        for variable in ("KROTON_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                         "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            environment[variable] = str(threads)
        environment["KROTON_CACHE"] = "off"
        environment["JAX_PLATFORMS"] = "cpu"
        environment["CUDA_VISIBLE_DEVICES"] = ""
        environment["PYTHONPATH"] = str(HERE / "peers")
        environment["TORCHINDUCTOR_CACHE_DIR"] = str(CACHES / "torch")
        environment["PYTENSOR_FLAGS"] = f"base_compiledir={CACHES / 'pytensor'}"
        libraries = [str(path) for path in DEBIAN.glob("usr/lib/*") if path.is_dir()]
        if command[0].endswith("_blas"):
            environment["LD_LIBRARY_PATH"] = ":".join(libraries)
        # XLA takes as many threads as the process may use processors.
        processors = sorted(os.sched_getaffinity(0))[-threads:]

        def before_start():
            os.setpgrp()  # a group with the processes that it starts
            os.sched_setaffinity(0, processors)

        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            env=environment, preexec_fn=before_start)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def ask(self, command, limit):
        """The answer, unless it takes more than `limit` seconds."""
        self._signal(signal.SIGCONT)
        try:
            return self._answer(command, limit)
        finally:
            self._signal(signal.SIGSTOP)

    def _signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass  # it has ended

    def _answer(self, command, limit):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=limit)
        except queue.Empty:
            self.close()
            raise TooSlow(f"no answer in {limit:.0f} s") from None
        except OSError:
            line = ""
        if not line:
            self.close()
            raise Failure(f"ended with status {self.process.poll()}")
        reply = json.loads(line)
        if isinstance(reply, dict):
            raise Failure(reply["error"])
        return reply

    def processor_seconds(self):
        """Of all its threads so far."""
        # What clock_getcpuclockid(3) gives on Linux.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def alive(self):
        return self.process.poll() is None

    def close(self):
        self._signal(signal.SIGKILL)
        self.process.wait()
