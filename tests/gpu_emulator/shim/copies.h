// Copies to shared memory that nobody waits for.
#pragma once
#include "memory.h"

namespace emulator {

// Comes when the thread waits for the group. Until then nobody may touch the elements.
template <int count, class T, int N, class U>
inline void copy_later(Shared<T, N>& to, At i, const Global<U>& from, At j, long long available) {
  Thread& self = *machine.current;
  const int bytes = count * static_cast<int>(sizeof(T));
  const int there = available >= count ? count : available <= 0 ? 0 : static_cast<int>(available);
  if (i.i % count != 0 ||
      (there > 0 && reinterpret_cast<uint64_t>(from.data + j.i) % static_cast<uint64_t>(bytes))) {
    fail(
        "thread %u of block %u: a copy of %d bytes to element %lld of the shared array of line %d "
        "is not aligned",
        thread_number(), machine.block.x, bytes, i.i, to.line);
  }
  if (self.copy_count == self.copy_room) {
    self.copy_room = 2 * self.copy_room + 16;
    self.copies = static_cast<Underway*>(
        realloc(self.copies, static_cast<size_t>(self.copy_room) * sizeof(Underway)));
  }
  Underway& copy = self.copies[self.copy_count++];
  copy.array = &to;
  copy.i = i.i;
  copy.count = count;
  copy.line = i.line;
  copy.group = self.group;
  copy.arrive = [](const Underway& one) {
    Shared<T, N>& array = *static_cast<Shared<T, N>*>(one.array);
    for (int k = 0; k < one.count; ++k) {
      T value;
      memcpy(&value, one.values + k * sizeof(T), sizeof(T));
      array.arriving[one.i + k] = 0;
      array.written[one.i + k] = machine.serial;
      const Element<T> element = array[At(one.i + k, one.line)].element();
      note_write(*element.log, element.what, element.number, element.index);
      *element.place = value;
    }
  };
  const Launch& request = *machine.request;
  for (int k = 0; k < count; ++k) {
    T value = 0;
    if (k < there) {
      const Element<U> one = from[At(j.i + k, j.line)];
      note_read(*one.log, one.what, one.number, one.index);
      value = *one.place;
      if (request.touch && k == 0) {
        request.touch(request.environment, from.number, j.line, false, thread_number(),
                      reinterpret_cast<uint64_t>(one.place), there * static_cast<int>(sizeof(T)));
      }
    }
    memcpy(copy.values + k * sizeof(T), &value, sizeof(T));
    const Element<T> place = to[At(i.i + k, i.line)].element();
    note_write(*place.log, place.what, place.number, place.index);
    to.arriving[i.i + k] = machine.serial;
    if (request.touch && k == 0) {
      request.touch(request.environment, -place.number, i.line, true, thread_number(),
                    static_cast<uint64_t>(i.i) * sizeof(T), bytes);
    }
  }
}

inline void end_copies() { ++machine.current->group; }

inline void wait_for_copies(uint32_t groups) {
  Thread& self = *machine.current;
  int left = 0;
  for (int k = 0; k < self.copy_count; ++k) {
    if (self.copies[k].group + groups < self.group) {
      self.copies[k].arrive(self.copies[k]);
    } else {
      self.copies[left++] = self.copies[k];
    }
  }
  self.copy_count = left;
}

}  // namespace emulator
