"""Finds the TensorFlow pip package of a Python, for its headers and libraries."""

_FIND = """
import importlib.metadata, importlib.util
print(importlib.metadata.version("tensorflow"))
print(importlib.util.find_spec("tensorflow").submodule_search_locations[0])
"""

_BUILD = """
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "headers",
    # Half of the files are in external/, and only highwayhash is included from there.
    hdrs = glob(
        ["package/include/**"],
        exclude = ["package/include/external/**"],
    ) + glob(["package/include/external/highwayhash/**"]),
    defines = ['TFHASH_TENSORFLOW_VERSION=\\\\"{version}\\\\"'],
    includes = ["package/include", "package/include/external/highwayhash"],
)

cc_library(
    name = "libraries",
    srcs = [
        "package/libtensorflow_cc.so.2",
        "package/libtensorflow_framework.so.2",
    ],
)
"""

def _tensorflow_package_impl(ctx):
    python = ctx.os.environ.get("TFHASH_PYTHON", "python3")
    found = ctx.execute([python, "-c", _FIND])
    if found.return_code != 0:
        fail("found no TensorFlow in %s; name a Python that has it in TFHASH_PYTHON:\n%s" % (
            python,
            found.stderr,
        ))
    version, folder = found.stdout.splitlines()
    ctx.symlink(folder, "package")
    ctx.file("BUILD", _BUILD.format(version = version))

tensorflow_package = repository_rule(
    implementation = _tensorflow_package_impl,
    environ = ["TFHASH_PYTHON"],
    local = True,
)
