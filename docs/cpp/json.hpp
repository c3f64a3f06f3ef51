// JSON, as far as a bundle has it.
#pragma once

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

// A JSON value: a number, a text, true or false, a list, or an object.
struct Json {
    double number = 0;
    std::string text;
    std::vector<Json> items;
    std::map<std::string, Json> members;

    const Json& operator[](const std::string& name) const {
        const auto found = members.find(name);
        if (found == members.end()) throw std::runtime_error("what describes the model has no " + name);
        return found->second;
    }
};

class Parser {
public:
    explicit Parser(const std::string& text) : text_(text) {}

    Json value() {
        Json made;
        switch (peek()) {
            case '{':
                while (next("{,", '}')) {
                    const std::string name = quoted();
                    take(':');
                    made.members[name] = value();
                }
                return made;
            case '[':
                while (next("[,", ']')) made.items.push_back(value());
                return made;
            case '"': made.text = quoted(); return made;
            case 't': at_ += 4; made.number = 1; return made;
            case 'f': at_ += 5; return made;
            case 'n': at_ += 4; return made;
            default: return number();
        }
    }

private:
    char peek() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
        if (at_ >= text_.size()) throw std::runtime_error("what describes the model ends in the middle");
        return text_[at_];
    }
    void take(char wanted) {
        if (peek() != wanted) throw std::runtime_error("what describes the model cannot be read");
        ++at_;
    }
    // Whether another item comes, after the bracket or a comma; else the closing bracket is taken.
    bool next(const char* before, char end) {
        const char now = peek();
        if (now != end && now != before[0] && now != before[1])
            throw std::runtime_error("what describes the model cannot be read");
        ++at_;
        if (now == end) return false;
        if (now == before[0] && peek() == end) return ++at_, false;
        return true;
    }
    std::string quoted() {
        take('"');
        std::string made;
        for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
            if (text_[at_] == '\\' && ++at_ < text_.size() && text_[at_] == 'n') made += '\n';
            else if (at_ < text_.size()) made += text_[at_];
        }
        take('"');
        return made;
    }
    Json number() {
        char* end = nullptr;
        Json made;
        made.number = std::strtod(text_.c_str() + at_, &end);
        if (end == text_.c_str() + at_) throw std::runtime_error("what describes the model cannot be read");
        at_ = end - text_.c_str();
        return made;
    }

    std::string text_;
    size_t at_ = 0;
};
