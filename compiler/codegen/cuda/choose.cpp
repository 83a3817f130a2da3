// Of several candidates for the same results a program runs the one that is the fastest.
#include <kroton/error.h>

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <utility>

#include "compiler/base/dump.h"
#include "compiler/codegen/cuda/choices.h"
#include "compiler/codegen/cuda/run_program.h"
#include "compiler/lower/cache_key.h"

namespace kroton::codegen {
namespace {

void write_number(Sha256& hash, std::int64_t number) { hash.update(&number, sizeof number); }

void write_text(Sha256& hash, const std::string& text) {
  write_number(hash, std::ssize(text));
  hash.update(text);
}

// Which of a library are timed, at most.
constexpr int library_algorithms = 8;

class Timing {
 public:
  explicit Timing(bool& flag) : flag_(flag) { flag_ = true; }
  ~Timing() { flag_ = false; }
  Timing(const Timing&) = delete;
  Timing& operator=(const Timing&) = delete;

 private:
  bool& flag_;
};

}  // namespace

void DeviceProgram::find_choices(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    for_each_inner(step, [this](const auto& inner) { find_choices(inner); });
    const auto* kernel = as<loop::Kernel>(step);
    if (!kernel || step.choice < 0) continue;
    const auto [found, fresh] =
        choice_numbers_.try_emplace(step.choice, static_cast<int>(choices_.size()));
    if (fresh) choices_.emplace_back();
    Choice& choice = choices_[static_cast<std::size_t>(found->second)];
    const auto candidate = static_cast<std::size_t>(step.candidate);
    if (choice.candidates.size() <= candidate) choice.candidates.resize(candidate + 1);
    const int number = kernel_numbers_.at(kernel);
    LoadedKernel& loaded = kernels_[static_cast<std::size_t>(number)];
    loaded.choice = found->second;
    loaded.candidate = step.candidate;
    Candidate& of = choice.candidates[candidate];
    of.kernels.push_back(number);
    of.form = kernel->form;
    of.forms.push_back(form_of(program_, *kernel).digest);
    of.needs_library = of.needs_library || (kernel->instead && !loaded.product.product);
    for (const loop::BufferRef& buffer : kernel->outputs) {
      choice.outputs.push_back(position_of(buffer));
    }
  }
}

// Behind all others, so that a candidate keeps its number: the algorithms of all libraries'
// products with one number after those with smaller ones.
void DeviceProgram::add_algorithms(Choice& choice) const {
  const std::size_t count = choice.candidates.size();
  for (std::size_t k = 0; k < count; ++k) choice.candidates[k].of = static_cast<int>(k);
  for (int algorithm = 1; algorithm < library_algorithms; ++algorithm) {
    for (std::size_t k = 0; k < count; ++k) {
      const bool is_by_library = std::ranges::any_of(choice.candidates[k].kernels, [&](int number) {
        return kernels_[static_cast<std::size_t>(number)].product.product != nullptr;
      });
      if (!is_by_library) continue;
      Candidate made = choice.candidates[k];
      made.algorithm = algorithm;
      made.form += ", its algorithm " + std::to_string(algorithm + 1);
      choice.candidates.push_back(std::move(made));
    }
  }
}

// Those of these sizes, if they are known.
void DeviceProgram::recall_choices() {
  for (Choice& choice : choices_) {
    const auto known = choice.decided.find(sizes_);
    choice.now = known == choice.decided.end() ? -1 : known->second;
    if (choice.now >= 0) load(choice.candidates[static_cast<std::size_t>(choice.now)]);
  }
}

int DeviceProgram::candidate_of(int number) {
  Choice& choice = choices_[static_cast<std::size_t>(number)];
  const auto now = [&] { return choice.candidates[static_cast<std::size_t>(choice.now)].of; };
  if (choice.now >= 0) return now();
  if (!choice.was_tried) {
    choice.was_tried = true;
    choice.now = decide(choice);
    if (choice.now >= 0) {
      choice.decided[sizes_] = choice.now;
      return now();
    }
    load(choice.candidates.front());
  }
  is_undecided_ = true;
  return 0;
}

void DeviceProgram::load(const Candidate& candidate) {
  for (const int number : candidate.kernels) {
    LoadedKernel& kernel = kernels_[static_cast<std::size_t>(number)];
    kernel.algorithm = candidate.algorithm;
    DeviceModule::Kernel& handle = kernel.handles[wide_ ? 1 : 0];
    if (handle) continue;
    const auto text = static_cast<std::size_t>(kernel.emitted->text);
    const std::string& source = emitted_.candidates[text];
    std::unique_ptr<DeviceModule>& module = candidate_modules_[text][wide_ ? 1 : 0];
    if (!module) {
      module = device_->compile(wide_ ? with_wide_indices(source) : source, program_.name);
    }
    handle = module->kernel(kernel.emitted->name);
  }
}

// What a choice depends on: the device and its software, the candidates, the sizes.
Digest DeviceProgram::key_of(const Choice& choice) const {
  Sha256 hash;
  write_text(hash, "choice");
  write_text(hash, compiler_id());
  write_text(hash, device_->kind());
  write_text(hash, how_.products ? "products by " + device_->products_version() : "");
  write_text(hash, device_->convolutions_version());
  write_number(hash, how_.tf32 ? 1 : 0);
  write_number(hash, std::ssize(choice.candidates));
  for (const Candidate& candidate : choice.candidates) {
    write_number(hash, candidate.algorithm);
    write_number(hash, std::ssize(candidate.forms));
    for (const Digest& form : candidate.forms) hash.update(form.data(), form.size());
  }
  for (const std::int64_t size : sizes_) write_number(hash, size);
  return hash.finish();
}

// -1 where that cannot be told now.
int DeviceProgram::decide(Choice& choice) {
  const auto count = static_cast<int>(choice.candidates.size());
  const auto does_nothing = [&](int number) {
    return kernels_[static_cast<std::size_t>(number)].blocks == 0;
  };
  if (std::ranges::all_of(choice.candidates.front().kernels, does_nothing)) {
    load(choice.candidates.front());
    return 0;
  }
  const auto loaded = [&](int chosen) {
    load(choice.candidates[static_cast<std::size_t>(chosen)]);
    return chosen;
  };
  const Digest key = key_of(choice);
  if (const auto known = known_choice(key, count)) return loaded(*known);
  // Other devices' programs may wait for this one: only for what it has started.
  exchanges_.settle_all();
  device_->synchronize();
  // One at a time, so that equal devices choose alike.
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  if (const auto known = known_choice(key, count)) return loaded(*known);
  const std::optional<int> chosen = timed(choice);
  if (!chosen) return -1;
  return loaded(keep_choice(key, *chosen, count));
}

// Runs all candidates, which store elsewhere meanwhile.
std::optional<int> DeviceProgram::timed(const Choice& choice) {
  struct Elsewhere {
    DeviceProgram& program;
    CallTimes* times = std::exchange(program.times_, nullptr);  // of what the call runs
    std::vector<PlacedBuffer*> buffers = {};
    std::vector<DeviceMemory> memory = {};
    ~Elsewhere() {
      for (PlacedBuffer* placed : buffers) placed->elsewhere = 0;
      program.times_ = times;
    }
  } elsewhere{*this};
  const bool was_updating = updating_;
  try {
    for (const int position : choice.outputs) {
      PlacedBuffer& placed = buffers_[static_cast<std::size_t>(position)];
      if (placed.elsewhere != 0 || placed.bytes == 0) continue;
      DeviceMemory& memory = elsewhere.memory.emplace_back(device_, placed.bytes);
      device_->copy(memory.address(), address_of(placed), placed.bytes);
      placed.elsewhere = memory.address();
      elsewhere.buffers.push_back(&placed);
    }
  } catch (const DeviceError& error) {
    device_->check_usable();
    if (dumps("tune")) std::fprintf(stderr, "== tune: no room to: %s\n", error.what());
    return std::nullopt;
  }
  std::vector<std::function<void()>> starts;
  for (const Candidate& candidate : choice.candidates) {
    const bool is_there = &candidate == &choice.candidates.front() || !candidate.needs_library;
    starts.emplace_back([this, &candidate, is_there] {
      if (!is_there) throw DeviceError("it needs the library");
      load(candidate);
      for (const int number : candidate.kernels) {
        launch(kernels_[static_cast<std::size_t>(number)]);
      }
    });
  }
  const std::vector<std::optional<double>> seconds = [&] {
    const Timing timing(is_timing_);
    return time_candidates(*device_, starts);
  }();
  updating_ = was_updating;
  // Nothing was computed behind a check that has failed.
  kroton_error error{};
  if (!program_.sites.empty()) device_->download(&error, transfers_.results(), sizeof error);
  if (error.code != KROTON_OK) return std::nullopt;
  const std::optional<int> chosen = fastest(seconds);
  if (!dumps("tune")) return chosen;
  std::string text = "== tune: " + program_.name + ":";
  for (std::size_t k = 0; k < program_.sizes.size(); ++k) {
    text += " " + program_.sizes[k]->name + "=" + std::to_string(sizes_[k]);
  }
  for (std::size_t k = 0; k < seconds.size(); ++k) {
    char time[32] = "not run";
    if (seconds[k]) std::snprintf(time, sizeof time, "%.1f us", 1e6 * *seconds[k]);
    text += "\n  " + std::string(chosen == static_cast<int>(k) ? "* " : "  ") + time + "  " +
            choice.candidates[k].form;
  }
  std::fprintf(stderr, "%s\n", text.c_str());
  return chosen;
}

}  // namespace kroton::codegen
