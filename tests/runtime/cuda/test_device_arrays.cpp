// Arrays on devices as such and as arguments and results, on the driver of the tests.
#include <doctest/doctest.h>
#include <kroton/kroton.h>

#include <atomic>
#include <numeric>
#include <thread>

#include "tests/fake_driver/process.h"
#include "tests/runtime/cuda/device_arrays.h"
#include "tests/tools/error_text.h"
#include "tests/tools/temporary_directory.h"

using namespace device_arrays;  // NOLINT: tests
using error_text::contains;
using fake_driver::Process;

namespace {

const std::vector<kt::Shape> shapes{{0}, {1}, {3}, {17}, {}, {3, 17}, {3, 0}, {17, 1, 3}};
const std::vector<kt::DType> dtypes{kt::boolean, kt::u8,   kt::i32, kt::i64,
                                    kt::f16,     kt::bf16, kt::f32, kt::f64};

}  // namespace

TEST_CASE("driver: arrays go to a device and back") {
  const Process process("devices=2");
  if (!process) return;
  for (const kt::DType dtype : dtypes) {
    for (const kt::Shape& shape : shapes) {
      CAPTURE(shape);
      const kt::Array here = numbered(shape, dtype);
      const kt::Array there = here.to(kt::cuda());
      CHECK(here.device() == kt::cpu());
      CHECK((there.device() == kt::cuda() && there.is_on_device()));
      CHECK((there.dtype() == dtype && there.shape() == shape));
      CHECK(kt::array_equal(there.to(kt::cpu()), here));
      CHECK(kt::array_equal(there.copy().to(kt::cpu()), here));
      CHECK(kt::array_equal(there.to(kt::cuda(1)).to(kt::cuda(0)).to(kt::cpu()), here));
      CHECK(kt::array_equal(there.reshape({-1}).to(kt::cpu()), here.reshape({-1})));
      if (here.size() > 0 && here.rank() > 0) {
        CHECK(kt::array_equal(there.row(-1).to(kt::cpu()), here.row(-1)));
      }
      kt::Array target = kt::Array::zeros(shape, dtype, kt::cuda(1));
      CHECK(kt::array_equal(target.to(kt::cpu()), kt::Array::zeros(shape, dtype)));
      target.assign(there);
      CHECK(kt::array_equal(target.to(kt::cpu()), here));
      target.assign(kt::Array::zeros(shape, dtype));
      kt::Array back = here.copy();
      back.assign(target);
      CHECK(kt::array_equal(back, kt::Array::zeros(shape, dtype)));
    }
  }
  // It is the same array where it is there already, and what has strides arrives in rows.
  const kt::Array a = numbered({3, 17}).to(kt::cuda());
  CHECK(a.to(kt::cuda()).device_pointer() == a.device_pointer());
  std::vector<float> mine(6);
  std::iota(mine.begin(), mine.end(), 0.0F);
  const kt::Array across = kt::Array::view(mine.data(), {3, 2}, {1, 3});
  CHECK(kt::array_equal(across.to(kt::cuda()).to(kt::cpu()), across));
  kt::Array strided = kt::Array::view(mine.data(), {3, 2}, {1, 3});
  strided.assign(kt::Array::ones({3, 2}).to(kt::cuda(1)));
  CHECK(mine == std::vector<float>(6, 1.0F));
  // A row onto its neighbour, and onto itself in part.
  kt::Array rows = numbered({4, 5}).to(kt::cuda());
  rows.row(0).assign(rows.row(1));
  rows.row(2).assign(rows.row(2));
  kt::Array flat = rows.reshape({20});
  CHECK(kt::array_equal(rows.row(0).to(kt::cpu()), numbered({4, 5}).row(1)));
  CHECK(kt::array_equal(rows.row(2).to(kt::cpu()), numbered({4, 5}).row(2)));
  kt::synchronize();
  kt::synchronize(kt::cuda(1));
  kt::synchronize(kt::cpu());
}

namespace {

// `has_way`: whether the devices have one to each other's memory.
void check_copies_between_devices(const std::string& settings, bool has_way) {
  const Process process(settings);
  if (!process) return;
  const auto x = kt::vector("x");
  const kt::FunctionOptions on_first{.target = kt::cuda(0), .downloads = false};
  const auto twice = kt::function({x}, 2 * x, on_first);
  const auto more =
      kt::function({x}, x + 1, {.target = kt::cuda(1), .uploads = false, .downloads = false});
  kt::Array y = kt::Array::zeros({1000}, kt::f32, kt::cuda(0));
  kt::Array there = kt::Array::zeros({1000}, kt::f32, kt::cuda(1));
  std::vector<kt::Array> results;
  const int downloads = process->calls("cuMemcpyDtoHAsync_v2");
  for (int i = 1; i <= 4; ++i) {
    // Written by one device while the other may still read it.
    twice.into(y)(kt::Array::full({1000}, static_cast<float>(i)));
    there.assign(y);
    results.push_back(more(there));
    results.push_back(there.to(kt::cuda(0)));
  }
  CHECK(process->calls("cuMemcpyDtoHAsync_v2") == downloads);
  CHECK(process->calls("cuMemcpyPeerAsync") == 8);
  CHECK(process->calls("cuCtxEnablePeerAccess") == (has_way ? 2 : 0));
  for (int i = 1; i <= 4; ++i) {
    const auto at = static_cast<std::size_t>(2 * (i - 1));
    const auto value = static_cast<float>(2 * i);
    CHECK(results[at + 1].device() == kt::cuda(0));
    CHECK(kt::array_equal(results[at].to(kt::cpu()), kt::Array::full({1000}, value + 1)));
    CHECK(kt::array_equal(results[at + 1].to(kt::cpu()), kt::Array::full({1000}, value)));
  }
  // Opposite ways at the same time.
  std::thread other([&] {
    for (int i = 0; i < 20; ++i) CHECK(y.to(kt::cuda(1)).device() == kt::cuda(1));
  });
  for (int i = 0; i < 20; ++i) CHECK(there.to(kt::cuda(0)).device() == kt::cuda(0));
  other.join();
  CHECK(kt::Array::zeros({0}, kt::f32, kt::cuda(0)).to(kt::cuda(1)).size() == 0);
}

}  // namespace

TEST_CASE("driver: arrays go from device to device past the host and in order") {
  check_copies_between_devices("devices=2", true);
}

TEST_CASE("driver: arrays go from device to device in order whatever runs first") {
  check_copies_between_devices("devices=2 order=eager", true);
}

TEST_CASE("driver: arrays go from device to device where these have no way to each other") {
  check_copies_between_devices("devices=2 peers=off", false);
}

TEST_CASE("driver: a copy between devices that fails is an error and the next one goes") {
  const Process process("devices=2");
  if (!process) return;
  const kt::Array here = numbered({5}, kt::f32).to(kt::cuda(0));
  process->fail_call("cuMemcpyPeerAsync", 1, 1);
  CHECK_THROWS_WITH_AS(here.to(kt::cuda(1)), doctest::Contains("copying 20 bytes from cuda:0"),
                       kt::DeviceError);
  CHECK(kt::array_equal(here.to(kt::cuda(1)).to(kt::cpu()), numbered({5}, kt::f32)));
}

TEST_CASE("driver: elements of an array on a device are not looked at") {
  const Process process;
  if (!process) return;
  kt::Array a = numbered({3}).to(kt::cuda());
  const auto fails = [&](const std::string& operation, const std::function<void()>& f) {
    CHECK(device_error(f) == operation +
                                 ": the array is on cuda:0 (test GPU), elements are looked at on "
                                 "the host: to(kt::cpu()) copies them there");
  };
  fails("data", [&] { static_cast<void>(a.data<float>()); });
  fails("data", [&] { static_cast<void>(a.data<double>()); });
  fails("data", [&] { static_cast<void>(kt::Array(a).data<float>()); });
  fails("raw", [&] { static_cast<void>(a.raw()); });
  fails("raw", [&] { static_cast<void>(std::as_const(a).raw()); });
  fails("index", [&] { static_cast<void>(double{a(0)}); });
  fails("index", [&] { a(0) = 1; });
  fails("item", [&] { static_cast<void>(a.row(0).item<float>()); });
  fails("item", [&] { static_cast<void>(a.row(0).item<double>()); });
  fails("cast", [&] { static_cast<void>(a.cast(kt::f64)); });
  fails("array_equal", [&] { static_cast<void>(kt::array_equal(numbered({3}), a)); });
  fails("all_close", [&] { static_cast<void>(kt::all_close(a, a)); });
  fails("shared: w", [&] { static_cast<void>(kt::shared(a, "w")); });
  fails("constant", [&] { static_cast<void>(kt::constant(a)); });
  const TemporaryDirectory folder;
  const auto is_no_file = [&](const std::string& what, const std::function<void()>& f) {
    CHECK(contains(device_error(f), what + ": the array is on cuda:0"));
  };
  is_no_file("save_npy", [&] { kt::save_npy(folder.file("a.npy"), a); });
  is_no_file("save_npz: a", [&] { kt::save_npz(folder.file("a.npz"), {{"a", a}}); });
  is_no_file("save_safetensors: a", [&] { kt::save_safetensors(folder.file("a"), {{"a", a}}); });
  auto s = kt::shared(numbered({3}), "s");
  fails("set_value: s", [&] { s.set_value(a); });
  CHECK(kt::array_equal(s.get_value(), numbered({3})));
  CHECK(kt::to_string(a) == "f32 (3,) on cuda:0 (test GPU)");
  CHECK(kt::to_string(kt::cuda(1)) == "cuda:1");
  CHECK(contains(device_error([&] { static_cast<void>(numbered({3}).device_pointer()); }),
                 "device_pointer: the array is on the host"));
  CHECK(contains(device_error([&] { static_cast<void>(numbered({3}).to(kt::cuda(1))); }),
                 "there is no CUDA device 1"));
}

TEST_CASE("driver: arguments on the device are used there and results stay") {
  const Process process;
  if (!process) return;
  const auto x = kt::tensor("x", {kt::dim("m"), kt::dim("n")});
  const auto y = kt::tensor("y", {kt::dim("n")});
  const std::vector<kt::Tensor> outputs{kt::softmax(x + y), kt::sum(x, 0), 2 * y};
  const auto on_cpu = kt::function({x, y}, outputs);
  const auto f = kt::function({x, y}, outputs, {.target = kt::cuda()});
  const auto stays =
      kt::function({x, y}, outputs, {.target = kt::cuda(), .uploads = false, .downloads = false});
  for (const std::int64_t m : {0, 1, 3, 17}) {
    for (const std::int64_t n : {1, 3, 17}) {
      for (int round = 0; round < 3; ++round) {
        const kt::Array xs = kt::Array::normal({m, n}, 1), ys = kt::Array::normal({n}, 2);
        const auto want = on_cpu(xs, ys);
        const kt::Array x_there = xs.to(kt::cuda()), y_there = ys.to(kt::cuda());
        const auto mixed = f(x_there, ys);
        const int up = process->calls("cuMemcpyHtoDAsync_v2");
        const int down = process->calls("cuMemcpyDtoHAsync_v2");
        const int waits = process->calls("cuStreamSynchronize");
        const auto there = stays(x_there, y_there);
        const auto chained = stays(there[0], there[2]);
        CHECK(process->calls("cuMemcpyHtoDAsync_v2") == up);
        CHECK(process->calls("cuMemcpyDtoHAsync_v2") == down);
        CHECK(process->calls("cuStreamSynchronize") == waits);
        const auto want_chained = on_cpu(want[0], want[2]);
        for (std::size_t k = 0; k < want.size(); ++k) {
          CHECK(there[k].device() == kt::cuda());
          CHECK(kt::all_close(mixed[k], want[k], 1e-5, 1e-6));
          CHECK(kt::all_close(there[k].to(kt::cpu()), want[k], 1e-5, 1e-6));
          CHECK(kt::all_close(chained[k].to(kt::cpu()), want_chained[k], 1e-5, 1e-6));
        }
        CHECK(kt::array_equal(x_there.to(kt::cpu()), xs));
      }
    }
  }
  // The sizes are checked before anything else.
  CHECK_THROWS_AS(f(numbered({3}).to(kt::cuda()), numbered({3})), kt::ShapeError);
  CHECK_THROWS_AS(f(numbered({3, 3}), numbered({3}, kt::f64).to(kt::cuda())), kt::TypeError);
}

TEST_CASE("driver: an array on another device is an error that names both") {
  const Process process("devices=2");
  if (!process) return;
  const auto x = kt::vector("x");
  const auto n = kt::scalar("n", kt::i64);
  const kt::Array here = numbered({3}), zero = here.to(kt::cuda(0)), one = here.to(kt::cuda(1));
  const auto on_cpu = kt::function({x}, 2 * x, {.name = "f"});
  const auto on_zero = kt::function({x}, 2 * x, {.name = "f", .target = kt::cuda(0)});
  const auto stays = kt::function(
      {x}, 2 * x, {.name = "f", .target = kt::cuda(1), .uploads = false, .downloads = false});
  CHECK(
      device_error([&] { on_cpu(zero); }) ==
      "f: x is on cuda:0 (test GPU), the function runs on the CPU: to(kt::cpu()) copies it there");
  CHECK(device_error([&] { on_zero(one); }) ==
        "f: x is on cuda:1 (test GPU), the function runs on cuda:0 (test GPU): to(kt::cuda(0)) "
        "copies it there");
  CHECK(device_error([&] { stays(here); }) ==
        "f: x is on the host, the function runs on cuda:1 (test GPU) and moves nothing: "
        "to(kt::cuda(1)) copies it there");
  kt::Array out_here = kt::Array::zeros({3}), out_zero = out_here.to(kt::cuda(0)),
            out_one = out_here.to(kt::cuda(1));
  CHECK(contains(device_error([&] { on_cpu.into(out_zero)(here); }),
                 "f: the given array of output 0 is on cuda:0"));
  CHECK(contains(device_error([&] { on_zero.into(out_one)(here); }),
                 "f: the given array of output 0 is on cuda:1"));
  CHECK(contains(device_error([&] { stays.into(out_here)(one); }),
                 "f: the given array of output 0 is on the host"));
  on_zero.into(out_here)(zero);
  CHECK(kt::array_equal(out_here, on_cpu(here)));
  stays.into(out_one)(one);
  CHECK(kt::array_equal(out_one.to(kt::cpu()), on_cpu(here)));
  // What the host must know.
  const auto powers =
      kt::scan([](kt::Tensor state) { return 2 * state; },
               {.outputs_info = {kt::constant(kt::Array::ones({2}))}, .n_steps = n});
  const auto steps = kt::function({n}, powers, {.name = "steps", .target = kt::cuda(0)});
  CHECK(contains(device_error([&] { steps(kt::Array(std::int64_t{3}).to(kt::cuda(0))); }),
                 "steps: n sets a number of steps, which the host must know; the argument is on "
                 "cuda:0"));
  CHECK(steps(3).shape() == kt::Shape{3, 2});
}

TEST_CASE("driver: results are written into arrays on the device") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto i = kt::scalar("i", kt::i64);
  const auto f = kt::function({x}, {2 * x, kt::sum(x)}, {.target = kt::cuda()});
  kt::Array table = kt::Array::zeros({4, 17}, kt::f32, kt::cuda());
  kt::Array sum = kt::Array::zeros({});
  const kt::Array xs = numbered({17});
  for (int k = 0; k < 4; ++k) {
    kt::Array row = table.row(k);
    f.into(row, sum)(xs);
    CHECK(sum.item<float>() == 136);
    CHECK(kt::array_equal(table.row(k).to(kt::cpu()), (kt::function({x}, 2 * x))(xs)));
  }
  kt::Array row = table.row(1);
  CHECK_THROWS_AS(f.into(row, sum)(table.row(1)), kt::ValueError);  // it overlaps the argument
  kt::Array wrong = kt::Array::zeros({16}, kt::f32, kt::cuda());
  CHECK_THROWS_AS(f.into(wrong, sum)(xs), kt::ShapeError);
  // After a failed check what is on the host is as before, and the function goes on.
  const auto pick = kt::function({x, i}, {x[i], 2 * x}, {.target = kt::cuda()});
  kt::Array picked = kt::Array::zeros({}), twice = table.row(2);
  CHECK_THROWS_AS(pick.into(picked, twice)(xs, 17), kt::ValueError);
  CHECK(picked.item<float>() == 0);
  pick.into(picked, twice)(xs, 16);
  CHECK(picked.item<float>() == 16);
}

TEST_CASE("driver: arrays on a device that has failed") {
  const Process process("devices=2");
  if (!process) return;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, 2 * x, {.name = "f", .target = kt::cuda(), .downloads = false});
  const kt::Array there = numbered({17}).to(kt::cuda());
  process->fail_kernel(1, 700);
  kt::Array y = f(there);  // returns at once
  const std::string message = device_error([&] { static_cast<void>(y.to(kt::cpu())); });
  CHECK(contains(message, "failed in a call of f: CUDA_ERROR_ILLEGAL_ADDRESS"));
  CHECK(device_error([&] { f(there); }) == message);
  CHECK(device_error([&] { static_cast<void>(there.copy()); }) == message);
  CHECK(device_error([&] { y.assign(numbered({17})); }) == message);
  CHECK(device_error([&] { kt::synchronize(); }) == message);
  CHECK(kt::to_string(y) == "f32 (17,) on cuda:0 (test GPU)");
  CHECK(numbered({17}).to(kt::cuda(1)).to(kt::cpu()).data<float>()[16] == 16);
}

TEST_CASE("driver: arrays on a device from several threads") {
  const Process process;
  if (!process) return;
  const auto x = kt::vector("x");
  const auto f = kt::function({x}, 2 * x, {.target = kt::cuda(), .downloads = false});
  const kt::Array shared = numbered({17}).to(kt::cuda());
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      kt::Array mine = kt::Array::full({17}, t + 1).to(kt::cuda());
      for (int i = 0; i < 10; ++i) {
        mine = f(mine);
        const kt::Array theirs = f(shared).to(kt::cpu());
        wrong += theirs.data<float>()[16] != 32;
      }
      wrong += mine.to(kt::cpu()).data<float>()[0] != static_cast<float>(1024 * (t + 1));
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}
