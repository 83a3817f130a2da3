// The CUDA driver and NVRTC, found at run time or not.
#include <doctest/doctest.h>
#include <kroton/error.h>

#include <cstdlib>

#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/library.h"
#include "runtime/cuda/nvrtc.h"
#include "runtime/device.h"
#include "tests/tools/error_text.h"
#include "tests/tools/left_out.h"

namespace kt = kroton;

using error_text::contains;
using error_text::device_error;

TEST_CASE("a missing library is an error that says what was tried") {
  const std::string message = device_error(
      [] { kt::nvidia::Library("the library of dreams", {"libdreams.so.3", "libdreams.so"}); });
  CHECK(message.starts_with("the library of dreams is not on this machine; tried:"));
  CHECK(contains(message, "libdreams.so.3"));
  CHECK(contains(message, "/usr/local/cuda/lib64/libdreams.so"));
}

TEST_CASE("a library without a function is an error that names both") {
  const kt::nvidia::Library library("the C library", {"libc.so.6"});
  void (*missing)() = nullptr;
  CHECK(device_error([&] { library.find(missing, "kroton_no_such_function"); }) ==
        "the C library (libc.so.6) has no function kroton_no_such_function");
}

TEST_CASE("libraries of CUDA's are looked for in the order in which a driver takes them") {
  using kt::nvidia::library_names;
  using Names = std::vector<std::string>;
  const Names versions{"13", "12", "11.2"};
  CHECK(library_names("l.so", versions, 0) == Names{"l.so.13", "l.so.12", "l.so.11.2", "l.so"});
  CHECK(library_names("l.so", versions, 14) == library_names("l.so", versions, 0));
  CHECK(library_names("l.so", versions, 12) == Names{"l.so.12", "l.so.11.2", "l.so.13", "l.so"});
  CHECK(library_names("l.so", versions, 11) == Names{"l.so.11.2", "l.so.12", "l.so.13", "l.so"});
}

TEST_CASE("libraries of CUDA's are looked for in $KROTON_CUDA_LIBRARIES first") {
  setenv("KROTON_CUDA_LIBRARIES", "/no/such/folder:/nor/this/one", 1);
  const std::string message =
      device_error([] { kt::nvidia::Library("the library of dreams", {"libdreams.so"}); });
  unsetenv("KROTON_CUDA_LIBRARIES");
  const auto first = message.find("/no/such/folder/libdreams.so");
  const auto second = message.find("/nor/this/one/libdreams.so");
  const auto last = message.find("/usr/local/cuda/lib64/libdreams.so");
  CHECK(first < second);
  CHECK(second < last);
  CHECK(last != std::string::npos);
}

TEST_CASE("a CUDA device that is not there is an error that says what is missing") {
  // No machine has this many, with a driver or without.
  const std::string message = device_error([] { kt::cuda_device(1000); });
  CHECK(message.starts_with("cuda(1000): "));
  CHECK((contains(message, "libcuda.so.1") || contains(message, "finds no device") ||
         contains(message, "there is no CUDA device 1000")));
}

TEST_CASE("NVRTC compiles, and reports what does not compile") {
  const std::string missing = device_error([] { kt::nvidia::Nvrtc::get(); });
  if (missing != "no error") {
    leave_out("NVRTC compiles", missing);
    return;
  }
  const kt::nvidia::Nvrtc& nvrtc = kt::nvidia::Nvrtc::get();
  REQUIRE(!nvrtc.architectures().empty());
  const std::string source =
      "extern \"C\" __global__ void twice(float* x) { x[threadIdx.x] *= 2.0f; }\n";
  CHECK(nvrtc.compile(source, "good", nvrtc.architectures().front()).size() > 100);
  // Newer than the library knows: PTX, a text.
  CHECK(contains(nvrtc.compile(source, "good", 9999), ".visible .entry twice"));
  CHECK(contains(device_error([&] { nvrtc.compile(source, "good", 10); }),
                 "generates no code for compute capability 1.0"));
  try {
    nvrtc.compile("int a;\nextern \"C\" __global__ void bad(float* x) { *x = y; }\n", "wrong", 90);
    FAIL_CHECK("compiled");
  } catch (const kt::InternalError& error) {
    const std::string text = error.what();
    CHECK(contains(text, "wrong does not compile"));
    CHECK(contains(text, "identifier \"y\" is undefined"));
    CHECK(contains(text, "2  extern"));
  }
}

TEST_CASE("cuBLASLt takes the description of a product, also without a device") {
  std::unique_ptr<kt::nvidia::CublasLtApi> api;
  const std::string missing = device_error(
      [&] { api = std::make_unique<kt::nvidia::CublasLtApi>(kt::nvidia::CublasLtApi::names(0)); });
  if (missing != "no error") {
    leave_out("cuBLASLt takes the description of a product", missing);
    return;
  }
  kt::DeviceProduct product;
  product.rows = 3;
  product.columns = 5;
  product.inner = 7;
  product.a = {1024, 7, 21, false};
  product.b = {2048, 7, 35, true};
  product.d = {4096, 5, 15, false};
  for (const auto& [dtype, operands, result, tf32] :
       std::vector<std::tuple<kt::DType, kt::DType, kt::DType, bool>>{
           {kt::f32, kt::f32, kt::f32, false},
           {kt::f64, kt::f64, kt::f64, false},
           {kt::f32, kt::f32, kt::f32, true},
           {kt::f32, kt::bf16, kt::f32, false},
           {kt::f32, kt::f16, kt::f16, true}}) {
    product.dtype = dtype;
    product.operands = operands;
    product.result = result;
    product.tf32 = tf32;
    for (const std::int64_t batch : {1, 2}) {
      product.batch = batch;
      for (const std::uint64_t bias : {0, 512}) {
        product.bias = bias;
        CHECK(device_error([&] { kt::nvidia::CublasLtPlan(*api, product); }) == "no error");
      }
    }
  }
}
