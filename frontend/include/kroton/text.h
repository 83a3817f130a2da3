// Texts as numbers: characters, words, byte pairs.
#pragma once
