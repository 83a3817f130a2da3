#include "runtime/print.h"

#include <kroton/array.h>
#include <kroton/error.h>
#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <exception>
#include <iostream>
#include <mutex>
#include <utility>

#include "runtime/visit.h"

namespace kroton {
namespace {

constexpr int most_texts_deep = 32;

struct Text {
  std::string text;
  int depth;  // how many texts were in progress when it was printed
};

// The stream and the thread that writes to it.
struct Output {
  std::mutex mutex;
  std::condition_variable changed;
  std::ostream* stream = &std::cerr;
  bool in_use = false;
  bool writer_waits = false;  // for a shared variable, see PrintersPass
  std::deque<Text> texts;     // of the writer: the one in progress, those to be shown after it
};

thread_local bool is_writer = false;

// Never destroyed: compiled functions may run until the process's very end.
Output& output() {
  static Output* const made = [] {
    auto* fresh = new Output;
    pthread_atfork([] { output().mutex.lock(); }, [] { output().mutex.unlock(); },
                   [] {
                     output().in_use = is_writer;
                     output().mutex.unlock();
                   });
    return fresh;
  }();
  return *made;
}

// Shows the texts, those too that are added meanwhile. Throws what the stream threw first.
void write_texts(std::unique_lock<std::mutex>& lock) {
  Output& o = output();
  o.in_use = is_writer = true;
  std::exception_ptr failure;
  for (; !o.texts.empty(); o.texts.pop_front()) {
    const std::string& text = o.texts.front().text;
    std::ostream& stream = *o.stream;
    lock.unlock();
    try {
      stream << text << std::flush;
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
    lock.lock();
  }
  o.in_use = is_writer = false;
  o.changed.notify_all();
  if (failure) std::rethrow_exception(failure);
}

void show(std::string text) {
  Output& o = output();
  std::unique_lock lock(o.mutex);
  if (is_writer) {
    const int depth = o.texts.front().depth + 1;
    if (depth > most_texts_deep) {
      throw ValueError(
          "print: the print stream calls a function that prints whenever something is shown");
    }
    o.texts.push_back({std::move(text), depth});
    return;
  }
  o.changed.wait(lock, [&] { return !o.in_use || o.writer_waits; });
  const bool left_to_writer = o.in_use;
  if (!left_to_writer) o.texts.clear();
  o.texts.push_back({std::move(text), 0});
  if (!left_to_writer) write_texts(lock);
}

Array view_of(DType dtype, const Shape& sizes, const void* data) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    return Array::view(const_cast<T*>(static_cast<const T*>(data)), sizes);
  });
}

}  // namespace

std::ostream& set_print_stream(std::ostream& stream) {
  Output& o = output();
  std::unique_lock lock(o.mutex);
  o.changed.wait(lock, [&] { return !o.in_use || is_writer; });
  return *std::exchange(o.stream, &stream);
}

PrintersPass::PrintersPass() {
  if (!is_writer) return;
  const std::lock_guard lock(output().mutex);
  output().writer_waits = true;
  output().changed.notify_all();
}

PrintersPass::~PrintersPass() {
  if (!is_writer) return;
  const std::lock_guard lock(output().mutex);
  output().writer_waits = false;
}

extern "C" std::int32_t kroton_print_value(kroton_context* context, const char* message,
                                           std::int32_t dtype, std::int32_t rank,
                                           const std::int64_t* shape, const void* data) noexcept {
  try {
    Shape sizes;
    for (std::int32_t axis = 0; axis < rank; ++axis) sizes.push_back(shape[axis]);
    const Array value = view_of(static_cast<DType>(dtype), sizes, data);
    std::string text = message;
    if (!text.empty()) text += ' ';
    text += std::string(name_of(value.dtype())) + " " + to_string(value.shape()) + "\n" +
            to_string(value) + "\n";
    show(std::move(text));
    return 0;
  } catch (...) {
    static_cast<CallContext*>(context)->failure = std::current_exception();
    return 1;
  }
}

}  // namespace kroton
