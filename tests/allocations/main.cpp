// Failing allocations: whatever allocation of ours fails, while expressions are built,
// differentiated, compiled or called, is a std::bad_alloc, after which everything is as before. A
// program of its own, because it replaces operator new.
//   kroton_allocations [POINTS]     so many allocations of each part, instead of some hundred
#include <execinfo.h>
#include <kroton/kroton.h>
#include <link.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <string>
#include <vector>

namespace kt = kroton;

namespace {

// The allocation that fails, counted down; below 0 none does. `lasting`: those after it too.
std::atomic<long> countdown{-1};
std::atomic<bool> lasting{false};
std::atomic<bool> counting{false};
std::atomic<long> allocations{0};
std::atomic<long> left_to_llvm{0};  // that were to fail and were LLVM's own

struct Range {
  std::uintptr_t begin = 0, end = 0;
};
Range llvm;

int find_llvm(dl_phdr_info* info, std::size_t, void*) {
  if (std::strstr(info->dlpi_name, "libLLVM") == nullptr) return 0;
  for (int k = 0; k < info->dlpi_phnum; ++k) {
    const auto& segment = info->dlpi_phdr[k];
    if (segment.p_type != PT_LOAD) continue;
    const std::uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
    llvm.begin = llvm.begin == 0 ? begin : std::min<std::uintptr_t>(llvm.begin, begin);
    llvm.end = std::max<std::uintptr_t>(llvm.end, begin + segment.p_memsz);
  }
  return 1;
}

// LLVM is built without exceptions: what it allocates itself does not fail here.
bool is_llvm_at_work() {
  void* frames[64];
  const int count = ::backtrace(frames, 64);
  return std::any_of(frames, frames + count, [](void* frame) {
    const auto address = reinterpret_cast<std::uintptr_t>(frame);
    return address >= llvm.begin && address < llvm.end;
  });
}

bool is_to_fail() {
  if (counting) ++allocations;
  const long left = countdown.load();
  if (left < 0 || (left == 0 && !lasting)) return false;
  if (left > 0 && --countdown > 0) return false;
  if (!is_llvm_at_work()) return true;
  ++left_to_llvm;
  return false;
}

void* allocate(std::size_t bytes, std::size_t alignment) {
  if (is_to_fail()) throw std::bad_alloc();
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, std::max(rounded, alignment));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes, 16); }
void* operator new[](std::size_t bytes) { return allocate(bytes, 16); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

int failures = 0;
long asked_points = 0;  // by the command line

void expect(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
  ++failures;
}

// Runs `body` once for every chosen allocation, which fails; `intact` says whether everything is as
// it was, or done.
void try_failures(const char* name, long most_points, bool fail_on,
                  const std::function<void()>& body, const std::function<bool()>& intact) {
  body();  // what is made once per process is there now
  counting = true;
  allocations = 0;
  body();
  counting = false;
  const long total = allocations;
  const long points = std::min(total, asked_points > 0 ? asked_points : most_points);
  long thrown = 0, finished = 0;
  left_to_llvm = 0;
  for (long point = 0; point < points; ++point) {
    const long failing = 1 + point * total / points;
    std::fprintf(stderr, "\r%s: allocation %ld of %ld   ", name, failing, total);
    lasting = fail_on;
    countdown = failing;
    std::string other;
    try {
      body();
      ++finished;
    } catch (const std::bad_alloc&) {
      ++thrown;
    } catch (const std::exception& error) {
      other = error.what();
    }
    lasting = false;
    countdown = -1;
    const std::string where = std::string(name) + ", allocation " + std::to_string(failing);
    expect(other.empty(), where + ": " + other);
    expect(intact(), where + ": not as before");
  }
  std::fprintf(stderr, "\n");
  std::printf(
      "%s: %ld allocations, %ld failed: %ld std::bad_alloc, %ld done all the same, "
      "%ld LLVM's own\n",
      name, total, points, thrown, finished - left_to_llvm, left_to_llvm.load());
  expect(thrown > 0, std::string(name) + ": no failure came through");
}

struct Model {
  kt::Tensor x = kt::matrix("x");
  kt::Tensor ids = kt::vector("ids", kt::i64);
  kt::Shared w;
  kt::Shared b;
};

// Something of everything: sizes that are computed, views, gathers, products, reductions ...
kt::Tensor scores_of(const Model& m) {
  const auto hidden = kt::tanh(kt::dot(m.x, m.w) + m.b);
  const auto half = hidden(kt::slice(0, kt::floor_div(m.x.shape(0) + 1, 2)));
  return kt::log_softmax(kt::concatenate({half, kt::take(hidden, m.ids)}));
}

// ... and a loop, whose variables are new each time, and a branch.
kt::Tensor loss_of(const Model& m) {
  const auto scores = scores_of(m);
  const auto walk = kt::scan([](kt::Tensor row, kt::Tensor h) { return kt::sin(h + row); },
                             {.sequences = {scores}, .outputs_info = {m.b}});
  return kt::ifelse(kt::sum(m.x) > 0, -kt::mean(scores), kt::mean(kt::square(walk[-1])));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) asked_points = std::strtol(argv[1], nullptr, 10);
  ::setenv("KROTON_CACHE", "off", 1);
  dl_iterate_phdr(find_llvm, nullptr);
  is_llvm_at_work();  // the first backtrace allocates
  if (llvm.begin == 0) {
    std::fprintf(stderr, "libLLVM is not among the loaded libraries\n");
    return 1;
  }

  const kt::Array w0 = kt::Array::normal({3, 4}, 1);
  const kt::Array b0 = kt::Array::normal({4}, 2);
  Model m{kt::matrix("x"), kt::vector("ids", kt::i64), kt::shared(w0, "w"), kt::shared(b0, "b")};
  const kt::Tensor loss = loss_of(m);
  const auto updates = [&] {
    const auto [gw, gb] = kt::grad(loss, m.w, m.b);
    return std::vector<kt::Update>{{m.w, m.w - 0.1 * gw}, {m.b, m.b - 0.1 * gb}};
  };
  const auto compile = [&] {
    return kt::function({m.x, m.ids}, loss, {.updates = updates(), .name = "train"});
  };
  const kt::Array xs = kt::Array::normal({5, 3}, 3);
  const kt::Array at = kt::Array::from<std::int64_t>({4, 0, -1});
  const auto reset = [&] {
    m.w.set_value(w0);
    m.b.set_value(b0);
  };
  auto train = compile();
  const float expected = train(xs, at).item<float>();
  const kt::Array w1 = m.w.get_value(), b1 = m.b.get_value();
  reset();

  // Nodes are found again: an equal expression is the same one.
  const kt::Tensor scores = scores_of(m);
  const kt::Tensor slope = kt::grad(kt::sum(scores), m.w);
  const auto built_alike = [&] {
    return same(scores_of(m), scores) && same(kt::grad(kt::sum(scores_of(m)), m.w), slope);
  };
  try_failures("building", 200, false, [&] { loss_of(m); }, built_alike);
  // Other variables: nothing of it is there yet. Unwinding finds no memory either.
  const auto build_anew = [&] {
    const Model fresh{kt::matrix("x"), kt::vector("ids", kt::i64), kt::shared(w0, "w"),
                      kt::shared(b0, "b")};
    kt::grad(loss_of(fresh), fresh.w);
  };
  try_failures("building and differentiating anew", 200, true, build_anew, built_alike);
  try_failures("differentiating", 150, false, [&] { kt::grad(loss, {m.w, m.b}); }, built_alike);

  const auto trains_alike = [&](const auto& f) {
    const bool good = f(xs, at).template item<float>() == expected &&
                      kt::array_equal(m.w.get_value(), w1) && kt::array_equal(m.b.get_value(), b1);
    reset();
    return good;
  };
  int compiled = 0;
  try_failures(
      "compiling", 100, false, [&] { compile(); },
      [&] {
        // Compiling takes most of the time here: not after each failure.
        return compiled++ % 20 != 0 || trains_alike(compile());
      });

  const auto call = [&] { train(xs, at); };
  const auto is_old = [&] {
    return kt::array_equal(m.w.get_value(), w0) && kt::array_equal(m.b.get_value(), b0);
  };
  // A call that was not done has changed nothing, one that was has changed both.
  for (const bool fail_on : {false, true}) {
    reset();
    try_failures(
        "calling", 100, fail_on,
        [&] {
          reset();
          call();
        },
        [&] {
          const bool is_whole = is_old() || (kt::array_equal(m.w.get_value(), w1) &&
                                             kt::array_equal(m.b.get_value(), b1));
          reset();
          return is_whole && trains_alike(train);
        });
  }
  const kt::Array other = kt::Array::ones({3, 4});
  try_failures(
      "set_value", 100, true, [&] { m.w.set_value(other); },
      [&] {
        const kt::Array now = m.w.get_value();
        const bool good = kt::array_equal(now, other) || kt::array_equal(now, w0);
        m.w.set_value(w0);
        return good && is_old();
      });
  if (failures == 0) std::printf("everything held\n");
  return failures == 0 ? 0 : 1;
}
