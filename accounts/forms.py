from django import forms
from django.contrib.auth.forms import BaseUserCreationForm

from accounts.models import User


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ["first_name", "last_name", "email"]


class SignUpForm(BaseUserCreationForm):
    """A new account, made while accepting an invitation."""

    class Meta:
        model = User
        fields = ["username", "first_name", "last_name", "email"]
