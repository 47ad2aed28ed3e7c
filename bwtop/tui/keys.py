"""Every key, one row each: the footer, the help and the tests take them from here."""

from typing import Final

from bwtop.tui import commands, dialogs
from bwtop.tui.keymap import Context, Key, Keymap

KEYS: Final = (
    Key(("h", "?", "f1"), dialogs.show_help, "help", "this help"),
    Key(("q",), commands.leave, "quit", "leave bwtop"),
    Key(("/",), commands.edit_filter, "filter", "filter as you type"),
    Key(("s",), dialogs.choose_order, "sort", "choose the column to sort by"),
    Key(("g",), commands.next_grouping, "group", "by process, executable, user, unit or remote"),
    Key((" ",), commands.pause, "pause", "hold the view; measuring goes on"),
    Key(("enter",), commands.enter, "open", "show or hide what is below; twice: details"),
    Key(("i",), commands.toggle_details, "info", "details of the selected process"),
    Key(("K",), dialogs.choose_signal, "kill", "send the selected process a signal"),
    Key(("t",), commands.toggle_tcp, "tcp", "TCP on and off"),
    Key(("u",), commands.toggle_udp, "udp", "UDP on and off"),
    Key(("o",), commands.toggle_other, "other", "all other protocols on and off"),
    Key(("l",), commands.next_loopback, "loopback", "loopback shown, hidden, or nothing else"),
    Key(("e",), commands.expand_all, "all", "show or hide what is below all rows"),
    Key(("b",), commands.toggle_bits, "bits", "rates in bits or bytes per second"),
    Key(("a",), commands.next_average, "average", "rates averaged over 1, 2, 10 or 40 seconds"),
    Key(("n",), commands.toggle_names, "names", "names of addresses on and off (reverse DNS)"),
    Key(("c",), commands.toggle_cmdline, "cmdline", "whole command lines on and off"),
    Key(("r",), commands.reverse, "reverse", "sort the other way round"),
    Key(("<", ","), commands.sort_left, "", "sort by the column to the left"),
    Key((">", "."), commands.sort_right, "", "sort by the column to the right"),
    Key(("+", "="), commands.longer_interval, "", "longer intervals"),
    Key(("-",), commands.shorter_interval, "", "shorter intervals"),
    Key(("z",), commands.reset, "zero", "set all totals to zero"),
    Key(("right",), commands.expand, "", "show what is below, then go there"),
    Key(("left",), commands.collapse, "", "hide what is below, or go to the row above it"),
    Key(("up", "k"), commands.up, "", "one row up"),
    Key(("down", "j"), commands.down, "", "one row down"),
    Key(("page up", "ctrl b"), commands.page_up, "", "one page up"),
    Key(("page down", "ctrl f"), commands.page_down, "", "one page down"),
    Key(("home",), commands.home, "", "the first row, whichever comes to be it"),
    Key(("end", "G"), commands.end, "", "the last row"),
    Key(("esc",), commands.escape, "", "close the details, then clear the filter"),
    Key(("ctrl l",), commands.redraw, "", "draw the screen anew"),
    Key(("enter",), commands.accept_filter, "keep it", "keep the filter", Context.FILTER),
    Key(("esc",), commands.clear_filter, "clear it", "clear the filter", Context.FILTER),
    Key(("up",), commands.up, "", "one row up", Context.FILTER),
    Key(("down",), commands.down, "", "one row down", Context.FILTER),
    Key(("page up",), commands.page_up, "", "one page up", Context.FILTER),
    Key(("page down",), commands.page_down, "", "one page down", Context.FILTER),
    Key(("enter",), dialogs.take_choice, "choose", "choose the marked line", Context.CHOOSER),
    Key(("esc", "q"), dialogs.close, "cancel", "leave things as they are", Context.CHOOSER),
    Key(("up", "k"), dialogs.panel_up, "", "one line up", Context.CHOOSER),
    Key(("down", "j"), dialogs.panel_down, "", "one line down", Context.CHOOSER),
    Key(("home", "page up"), dialogs.panel_home, "", "the first line", Context.CHOOSER),
    Key(("end", "page down"), dialogs.panel_end, "", "the last line", Context.CHOOSER),
    Key(("y", "Y"), dialogs.confirm, "yes", "do it", Context.CONFIRM),
    Key(("n", "N", "esc", "q"), dialogs.close, "no", "do not", Context.CONFIRM),
    Key(("esc", "q", "h", "?", "f1", "enter"), dialogs.close, "back", "back", Context.HELP),
    Key(("up", "k"), dialogs.help_up, "", "one line up", Context.HELP),
    Key(("down", "j"), dialogs.help_down, "", "one line down", Context.HELP),
    Key(("page up", "ctrl b"), dialogs.help_page_up, "", "one page up", Context.HELP),
    Key(
        ("page down", "ctrl f", " "), dialogs.help_page_down, "more", "one page down", Context.HELP
    ),
    Key(("home",), dialogs.help_home, "", "the beginning", Context.HELP),
    Key(("end", "G"), dialogs.help_end, "", "the end", Context.HELP),
)

DEFAULT: Final = Keymap(KEYS)
